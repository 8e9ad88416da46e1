import {
  chmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { ENTRY } from '../../../../src/daemon/transfers/format.ts';
import { isEntry, isWanted } from '../../../../src/daemon/transfers/disk/wanted.ts';
import { timeText } from '../../../../src/daemon/transfers/disk/attributes.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { closeTarget, diskIn, move, MTIME_MS, targetAt, whys, writeFiles, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const modeOf = (path: string): string => (lstatSync(join(home, path)).mode & 0o7777).toString(8);
/** A newer Node keeps what lies behind it, too. */
const microsecondOf = (path: string): number => Math.round(lstatSync(join(home, path)).mtimeMs * 1000);
const send = (options = {}) => move([disk, disk], [['~/tree'], '~/copy'], options);

describe('modes and times', () => {
  it(
    verifies('transfers.modes', 'are kept, of files that nobody may read too; setuid, setgid and sticky are not'),
    async () => {
      const modes = { plain: 0o644, tool: 0o755, none: 0o000, wide: 0o777, suid: 0o4755, sgid: 0o2755, sticky: 0o1644 };
      for (const [name, mode] of Object.entries(modes)) {
        writeFileSync(join(home, 'tree', name), name);
        chmodSync(join(home, 'tree', name), mode);
      }
      mkdirSync(join(home, 'tree/closed/in'), { recursive: true });
      writeFileSync(join(home, 'tree/closed/in/f'), '');
      chmodSync(join(home, 'tree/closed/in'), 0o500);
      chmodSync(join(home, 'tree/closed'), 0o3555);
      expect((await send()).failed).toEqual([]);
      for (const [name, mode] of Object.entries(modes))
        expect(modeOf(`copy/${name}`), name).toBe((mode & 0o777).toString(8));
      expect([modeOf('copy/closed'), modeOf('copy/closed/in')]).toEqual(['555', '500']);
    },
  );

  it(
    verifies(
      'transfers.modes',
      'into folders that are read-only at the target goes what is new, for their own user too',
    ),
    async (context) => {
      if (process.getuid?.() !== 0) return context.skip('needs root, to be somebody else for a moment');
      for (const [folder, mode] of [
        ['..', 0o755],
        ['.', 0o777],
        ['tree', 0o777],
      ] as const)
        chmodSync(join(home, folder), mode);
      process.setegid?.(65_534);
      process.seteuid?.(65_534);
      try {
        // The user of the node is not root here, and the journals are its own.
        const journals = join(home, 'tree', '..', 'data');
        mkdirSync(journals);
        disk = diskIn(home, { around: { journalDir: journals } });
        mkdirSync(join(home, 'tree/ro'));
        writeFileSync(join(home, 'tree/ro/a'), 'a');
        chmodSync(join(home, 'tree/ro'), 0o555);
        const own = {
          ...disk,
          journals: new (await import('../../../../src/daemon/transfers/disk/journal.ts')).Journals(journals),
        };
        expect((await move([own, own], [['~/tree'], '~/copy'])).failed).toEqual([]);
        chmodSync(join(home, 'tree/ro'), 0o755);
        writeFileSync(join(home, 'tree/ro/b'), 'b');
        chmodSync(join(home, 'tree/ro'), 0o555);
        expect(await move([own, own], [['~/tree'], '~/copy/../copy/.'])).toMatchObject({ failed: [] });
        const again = await move([own, own], [['~/tree/ro'], '~/copy']);
        expect(again).toMatchObject({ failed: [], files: 1, skipped: 1 });
        expect(modeOf('copy/ro')).toBe('555');
      } finally {
        process.seteuid?.(0);
        process.setegid?.(0);
      }
    },
  );

  it(verifies('transfers.modes', 'times are kept to the microsecond, before 1970 and far ahead'), async () => {
    const times = { early: -1_000_000_000_000, odd: 1_700_000_000_123.457, one: -1, zero: 0, late: 8_000_000_000_000 };
    for (const [name, ms] of Object.entries(times)) {
      writeFileSync(join(home, 'tree', name), '');
      utimesSync(join(home, 'tree', name), timeText(ms), timeText(ms));
    }
    symlinkSync('odd', join(home, 'tree/link'));
    lutimesSync(join(home, 'tree/link'), 5, 5);
    utimesSync(join(home, 'tree'), 77, 77);
    expect((await send()).failed).toEqual([]);
    for (const [name, ms] of Object.entries(times))
      expect(Math.abs(statSync(join(home, 'copy', name)).mtimeMs - ms), name).toBeLessThan(0.001);
    expect(lstatSync(join(home, 'copy/link')).mtimeMs).toBe(5000);
    expect(statSync(join(home, 'copy')).mtimeMs).toBe(77_000);
    const again = await move([disk, disk], [['~/tree'], '~/copy/../copy2']);
    expect(again.failed).toEqual([]);
    expect(await move([disk, disk], [['~/tree/.'], '~/copy2'])).toMatchObject({ files: 0, skipped: 5 });
  });

  it('a mode alone is changed without sending anything; a dry run changes nothing', async () => {
    writeFileSync(join(home, 'tree/f'), 'x');
    mkdirSync(join(home, 'copy'));
    await send();
    chmodSync(join(home, 'tree/f'), 0o751);
    expect(await send({ dryRun: true })).toMatchObject({ skipped: 1, failed: [] });
    expect(modeOf('copy/tree/f')).toBe('644');
    expect(await send()).toMatchObject({ files: 0, skipped: 1 });
    expect(modeOf('copy/tree/f')).toBe('751');
  });

  it(verifies('transfers.programs', 'without modes: those of the old file, else 644, and 755 with #!'), async () => {
    for (const [name, mode] of [
      ['old-tool', 0o711],
      ['old-script', 0o640],
    ] as const) {
      writeFileSync(join(home, 'tree', name), '');
      chmodSync(join(home, 'tree', name), mode);
    }
    mkdirSync(join(home, 'tree/sub'));
    const target = await targetAt(disk, '~/tree', { sourcePlatform: 'win32' });
    target.places.roots = [await disk.around.guard.check('~/tree')];
    const pieces = [
      ['old-tool', 'x', -1],
      ['old-script', '#!/bin/sh', -1],
      ['new', 'x', -1],
      ['script', '#!x', -1],
      ['short', '#', -1],
      ['empty', '', -1],
    ] as const;
    expect((await writeFiles(target, pieces)).failed).toEqual([]);
    expect(pieces.map(([name]) => modeOf(`tree/${name}`))).toEqual(['711', '640', '644', '755', '644', '644']);
    const before = modeOf('tree/sub');
    await target.plan([
      [ENTRY.folder, 0, 'sub', 0, MTIME_MS, -1],
      [ENTRY.folder, 0, 'fresh', 0, MTIME_MS, -1],
    ]);
    await target.finish([
      [ENTRY.end, 0, 'sub', 0, MTIME_MS, -1],
      [ENTRY.end, 0, 'fresh', 0, MTIME_MS, -1],
    ]);
    expect([modeOf('tree/sub'), modeOf('tree/fresh'), microsecondOf('tree/fresh')]).toEqual([
      before,
      '755',
      MTIME_MS * 1000,
    ]);
    await closeTarget(disk, target);
  });

  it('no source can ask for setuid, or for what is no number', () => {
    for (const mode of [0o1000, 0o4755, -2, 1.5, Number.NaN, '7', null]) {
      expect(isWanted([0, 'x', 1, 1, mode]), String(mode)).toBe(false);
      expect(isEntry([0, 0, 'x', 1, 1, mode]), String(mode)).toBe(false);
    }
    for (const entry of [
      [-1, 0, 'x', 1, 1, 0],
      [0, 0.5, 'x', 1, 1, 0],
      [0, 0, 7, 1, 1, 0],
      [0, 0, 'x', -1, 1, 0],
      [0, 0, 'x', 1, Infinity, 0],
      [2, 0, 'x', 0, 1, 0, 7],
      'x',
      null,
    ])
      expect(isEntry(entry)).toBe(false);
  });

  it('with update a link and a file give way to each other only where the newer one is at the source', async () => {
    const at = (path: string, seconds: number): void => lutimesSync(join(home, path), seconds, seconds);
    mkdirSync(join(home, 'copy/tree'), { recursive: true });
    symlinkSync('x', join(home, 'tree/link'));
    writeFileSync(join(home, 'tree/file'), 'from the source');
    writeFileSync(join(home, 'copy/tree/link'), 'there');
    symlinkSync('there', join(home, 'copy/tree/file'));
    for (const name of ['link', 'file']) {
      at(`tree/${name}`, 1.6e9);
      at(`copy/tree/${name}`, 1.7e9);
    }
    expect(await send({ update: true })).toMatchObject({ files: 0, links: 0, skipped: 1, failed: [] });
    expect(readFileSync(join(home, 'copy/tree/link'), 'utf8')).toBe('there');
    expect(readlinkSync(join(home, 'copy/tree/file'))).toBe('there');
    for (const name of ['link', 'file']) at(`copy/tree/${name}`, 1.5e9);
    expect(await send({ update: true })).toMatchObject({ files: 1, links: 1, failed: [] });
    expect(readlinkSync(join(home, 'copy/tree/link'))).toBe('x');
    expect(readFileSync(join(home, 'copy/tree/file'), 'utf8')).toBe('from the source');
  });

  it('update, noClobber and checksum choose what is left alone', async () => {
    writeFileSync(join(home, 'tree/f'), 'new');
    mkdirSync(join(home, 'copy/tree'), { recursive: true });
    const copy = join(home, 'copy/tree/f');
    writeFileSync(copy, 'old');
    utimesSync(copy, 4e9, 4e9);
    expect(await send({ update: true })).toMatchObject({ files: 0, skipped: 1 });
    expect(await send({ noClobber: true })).toMatchObject({ files: 0, skipped: 1 });
    symlinkSync('x', join(home, 'copy/tree/g'));
    writeFileSync(join(home, 'tree/g'), 'new');
    expect(await send({ noClobber: true })).toMatchObject({ files: 0, skipped: 2 });
    const same = statSync(join(home, 'tree/f'));
    utimesSync(copy, same.mtimeMs / 1000, same.mtimeMs / 1000);
    expect(await send()).toMatchObject({ files: 1, skipped: 1 });
    // One has other contents, in spite of its size and time; the other one only another time.
    utimesSync(join(home, 'copy/tree/g'), 1000, 1000);
    expect(await send({ checksum: true })).toMatchObject({ files: 1, skipped: 1 });
    expect(statSync(join(home, 'copy/tree/g')).mtimeMs).toBeCloseTo(statSync(join(home, 'tree/g')).mtimeMs, 2);
    expect(readFileSync(copy, 'utf8')).toBe('new');
    expect(await send({ checksum: true })).toMatchObject({ files: 0, skipped: 2 });
    expect(whys((await send()).failed)).toEqual([]);
  });
});
