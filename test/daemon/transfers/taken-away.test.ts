import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { beforeEach, describe, expect, it } from 'vitest';

import type { SourceEnd, TargetEnd } from '../../../src/daemon/transfers/ends.ts';
import type { Group } from '../../../src/daemon/transfers/format.ts';
import { Mirrored } from '../../../src/daemon/transfers/disk/mirrored.ts';
import type { Marks } from '../../../src/daemon/transfers/known-folders.ts';
import { Mover } from '../../../src/daemon/transfers/mover.ts';
import { Progress } from '../../../src/daemon/transfers/progress.ts';
import { TransferRecords } from '../../../src/daemon/transfers/records.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { SafePath } from '../../../src/trust/path-guard.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { mountSmallDisk } from '../../helpers/small-disk.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { diskIn, manifestOf, readJson, sourceOf } from './disk/setup.ts';
import { localNode } from './local-setup.ts';

const THERE: [string, boolean][] = [
  ['sub', true],
  ['file', false],
  ['extra', false],
];

let home = '';
const write = (...paths: string[]): void => {
  for (const path of paths) {
    mkdirSync(dirname(join(home, path)), { recursive: true });
    writeFileSync(join(home, path), path);
  }
};
beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  write('tree/sub/a', 'tree/file', 'tree/rest/b');
});

/** A source that was read, and how it answers what of `names` is missing. */
const opened = async (
  options: { gitignore?: boolean } = {},
): Promise<(folder: string, names: [string, boolean][], gone?: true) => Promise<unknown>> => {
  const { source } = await sourceOf(diskIn(home), ['~/tree'], options);
  await manifestOf(source);
  // What happens in the millisecond of the opening is before it.
  await new Promise((resolve) => setTimeout(resolve, 5));
  return (folder, names, gone) =>
    readJson(source, { kind: 'missing', root: 0, folder, names, ...(gone === true ? { gone } : {}) }).catch(
      (thrown: unknown) => (thrown instanceof LoopsyError ? `${thrown.error}: ${thrown.message}` : thrown),
    );
};

describe('a mirrored source', () => {
  it(verifies('transfers.delete-taken', 'says what it does not have, while it is what was read'), async () => {
    const missing = await opened();
    expect(await missing('', THERE)).toEqual({ missing: [2], others: [] });
    expect(await missing('sub', [['x', false]])).toEqual({ missing: [0], others: [] });
    // A folder there, a file here.
    expect(await missing('', [['file', true]])).toEqual({ missing: [], others: [0] });
    expect(await missing('file', [['x', false]], true)).toEqual({ missing: [0], others: [] });
  });

  it(
    verifies('transfers.delete-taken', 'that is gone, or another folder by now, has not lost all that it had'),
    async () => {
      const missing = await opened();
      renameSync(join(home, 'tree'), join(home, 'moved'));
      const changed = expect.stringMatching(/^source_changed: "tree" is not the folder any more that was read/);
      expect([await missing('', THERE), await missing('sub', [['a', false]], true)]).toEqual([changed, changed]);
      write('tree/nothing');
      expect([await missing('', THERE), await missing('sub', [['a', false]])]).toEqual([changed, changed]);
    },
  );

  it(
    verifies('transfers.delete-taken', 'of which a folder is gone, or was worked in, says nothing of that folder'),
    async () => {
      const missing = await opened();
      rmSync(join(home, 'tree/sub/a'));
      renameSync(join(home, 'tree/rest'), join(home, 'rest'));
      const changed = expect.stringMatching(/^source_changed: .* changed while it was mirrored/);
      expect(await missing('sub', [['a', false]])).toEqual(changed);
      expect(await missing('rest', [['b', false]])).toEqual(changed);
      expect(await missing('', [['rest', true]])).toEqual(changed);
      // What is there is there.
      expect(await missing('', [['file', false]])).toEqual({ missing: [], others: [] });
    },
  );

  it(
    verifies('transfers.delete-taken', 'whose list of what is left out is gone, or another one, gives nothing up'),
    async () => {
      write('tree/deep/er/x');
      writeFileSync(join(home, 'tree/.gitignore'), 'secret/\n');
      const missing = await opened({ gitignore: true });
      expect(await missing('deep/er', [['secret', true]])).toEqual({ missing: [], others: [], left: [0] });
      writeFileSync(join(home, 'tree/.gitignore'), '');
      expect(await missing('deep/er', [['secret', true]])).toEqual(expect.stringContaining('source_changed'));
      rmSync(join(home, 'tree/.gitignore'));
      expect(await missing('deep/er', [['secret', true]])).toEqual(expect.stringContaining('source_changed'));
    },
  );

  it(verifies('transfers.delete-taken', 'has not changed because its folders have times to come'), async () => {
    utimesSync(join(home, 'tree/sub'), new Date('2300-01-01'), new Date('2300-01-01'));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const missing = await opened();
    expect(await missing('sub', [['x', false]])).toEqual({ missing: [0], others: [] });
    // This clock was set back since.
    const stats = lstatSync(join(home, 'tree/sub'));
    const root = { name: 'tree', real: '/t' as SafePath, type: 'directory' as const, identity: stats };
    const folder = new Mirrored([root]).folder(0, 'sub');
    const changedAt = (ctimeMs: number): boolean => folder.hasChanged(Object.assign(stats, { ctimeMs }));
    expect([changedAt(Date.now() + 86_400_000), changedAt(Date.now())]).toEqual([false, true]);
  });

  it(verifies('transfers.delete-taken', 'in which a disk is taken away has not lost what was on it'), () => {
    const stats = lstatSync(join(home, 'tree'));
    const mirrored = new Mirrored([{ name: 'tree', real: '/t' as SafePath, type: 'directory', identity: stats }]);
    mirrored.onDisk(0, 'mnt/disk', stats.dev + 1);
    const judge = (path: string): void => mirrored.folder(0, path).needDisk(stats, path);
    for (const path of ['', 'mnt', 'mnt/diskette']) expect(() => judge(path)).not.toThrow();
    for (const path of ['mnt/disk', 'mnt/disk/photos']) expect(() => judge(path)).toThrow('changed while');
  });
});

const EMPTY: Group = { entries: [], failed: [], files: 0, bytes: 0, last: true };

/** A movement of a folder whose source says each time it is opened which folder that is. */
const moverOf = (marks: readonly string[], known?: Marks): { mover: Mover; told: Marks[]; clock: FakeClock } => {
  const clock = new FakeClock();
  const told: Marks[] = [];
  let nth = 0;
  const source: SourceEnd = {
    place: { name: 'here', nodeId: 'here' },
    partBytes: 1,
    open: async () => ({
      endId: 's',
      platform: 'linux',
      roots: [{ name: 'tree', path: '/mnt/tree', type: 'directory', mark: marks[nth++] ?? '' }],
      failures: [],
    }),
    read: async () =>
      (async function* () {
        yield Buffer.from(JSON.stringify(EMPTY));
      })(),
    close: async () => undefined,
  };
  const target: TargetEnd = {
    place: { name: 'there', nodeId: 'there' },
    open: async () => ({ endId: 't', platform: 'linux', paths: ['/there/tree'] }),
    write: async (step) => {
      if (nth < marks.length) throw new LoopsyError('transfer_not_found');
      return step === 'plan'
        ? { send: [], check: [], compare: [], skipped: 0, skippedBytes: 0, folders: 0, links: 0 }
        : {};
    },
    put: async () => undefined,
    close: async () => undefined,
  };
  const mover = new Mover({
    ends: { source: () => source, target: () => target },
    input: { sources: ['/mnt/tree'], dest: '/there', delete: true },
    progress: new Progress(() => undefined),
    clock,
    boot: 'b',
    signal: new AbortController().signal,
    patienceMs: 60_000,
    throttle: undefined,
    marks: known,
    onMarks: async (all) => void told.push(all),
  });
  return { mover, told, clock };
};

describe('a movement that begins anew', () => {
  it(
    verifies(
      'transfers.delete-taken',
      'goes on with the folder that it began with, and with no other, as an empty mount point',
    ),
    async () => {
      const same = moverOf(['12 a', '12 a']);
      await driveClock(same.clock, same.mover.run());
      expect(same.told).toEqual([{ '/mnt/tree': '12 a' }]);
      const other = moverOf(['12 a', '99 b']);
      await expect(driveClock(other.clock, other.mover.run())).rejects.toMatchObject({
        error: 'source_changed',
        message: expect.stringContaining('is another folder than when this transfer began'),
      });
      const later = moverOf(['99 b'], { '/mnt/tree': '12 a' });
      await expect(driveClock(later.clock, later.mover.run())).rejects.toMatchObject({ error: 'source_changed' });
    },
  );

  it(verifies('transfers.delete-taken', 'knows it over a restart of the node'), async () => {
    const clock = new FakeClock();
    const log = createLog({ level: 'error', clock, write: () => undefined });
    const records = new TransferRecords({ store: openMemoryStore({ clock }), clock, log, keepDays: () => 7 });
    const pending = { transferId: 't1', input: { sources: ['/mnt/tree'], dest: 'x' }, caller: 'owner', startedAt: 1 };
    await records.begin(pending);
    await records.begin({ ...pending, marks: { '/mnt/tree': '12 a' } });
    expect(records.pending()).toMatchObject([{ transferId: 't1', marks: { '/mnt/tree': '12 a' } }]);
  });
});

describe('what is in the way of a file', () => {
  it(verifies('transfers.delete-taken', 'stays whole where something in it can not be removed'), async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux has names that are no text');
    const node = await localNode();
    await node.write({ 'tree/file': 'new', 'to/file/p': 'precious', 'to/file/q/r': 'too' });
    await writeFile(Buffer.concat([Buffer.from(join(node.home, 'to/file/q/')), Buffer.of(0xff, 0xfe)]), '');
    const what = { sources: ['tree/.'], dest: 'to', delete: true };
    const why = expect.stringContaining('is a folder there, and in it is what --delete spares or can not remove');
    const dry = await node.move({ ...what, dryRun: true });
    expect([dry.files.done, dry.failures.map(({ message }) => message)]).toEqual([0, expect.arrayContaining([why])]);
    const row = await node.move(what);
    expect(row.failures.map(({ message }) => message)).toContainEqual(why);
    expect([row.removed, await readdir(join(node.home, 'to/file'))]).toEqual([0, ['p', 'q']]);
    expect(readdirSync(join(node.home, 'to/file/q'))).toContain('r');
  });

  it(verifies('transfers.delete-taken', 'stays where the file does not fit'), async ({ skip }) => {
    const disk = await mountSmallDisk(1024);
    skip(disk === undefined, 'only root on Linux may mount a disk');
    const to = disk?.folder ?? '';
    const node = await localNode({ allowed: ['/'] });
    await node.write({ 'tree/file': 'x'.repeat(2_000_000) });
    await mkdir(join(to, 'm/file'), { recursive: true });
    await writeFile(join(to, 'm/file/p'), 'precious');
    const row = await node.move({ sources: ['tree/.'], dest: join(to, 'm'), delete: true });
    expect(row.failures.map(({ error }) => error)).toContain('disk_full');
    expect(readdirSync(join(to, 'm/file'))).toEqual(['p']);
  });
});

describe('a mirror', () => {
  it(verifies('transfers.delete-taken', 'is never made of the home, by whatever name it is meant'), async () => {
    const wide = await localNode({ allowed: ['/'] });
    await wide.write({ [`src/${basename(wide.home)}/x`]: '', keep: 'mine' });
    const sources = [`src/${basename(wide.home)}`];
    const row = await wide.move({ sources, dest: dirname(wide.home), delete: true });
    expect(row).toMatchObject({
      outcome: 'failed',
      error: 'invalid_request',
      message: expect.stringContaining('the home'),
    });
    expect(readdirSync(wide.home)).toContain('keep');
  });
});
