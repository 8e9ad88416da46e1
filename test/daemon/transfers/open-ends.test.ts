import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { DISK_PROTOCOL } from '../../../src/daemon/transfers/disk/messages.ts';
import { DiskThread } from '../../../src/daemon/transfers/disk-thread.ts';
import { encodeHeader } from '../../../src/daemon/transfers/format.ts';
import { OpenEnds } from '../../../src/daemon/transfers/open-ends.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Grant } from '../../../src/protocol/grants.ts';
import type { Transfer } from '../../../src/protocol/transfers.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

const OWNER: Caller = { kind: 'owner' };
const peer = (id: string, grant: Grant = grantOfLevel('full')): Caller => ({
  kind: 'peer',
  machineId: id,
  nodeId: id,
  grant,
});

let home: string;
let disk: DiskThread;
let ends: OpenEnds;
let opened: Transfer[];
let ended: Transfer[];

beforeEach(async () => {
  home = await tempFolder();
  await mkdir(join(home, 'data'), { mode: 0o700 });
  opened = [];
  ended = [];
  disk = new DiskThread({
    clock: systemClock,
    log: createLog({ write: () => undefined, level: 'error', clock: systemClock }),
    data: () => ({
      protocol: DISK_PROTOCOL,
      platform: process.platform,
      home,
      nodeId: 'here',
      alwaysDenied: [join(home, 'data')],
      journalDir: join(home, 'data', 'transfers'),
      rules: { allowed: [home], denied: [join(home, 'secret')], maxFileSize: 1_000_000 },
    }),
  });
  ends = new OpenEnds({
    disk,
    clock: systemClock,
    platform: process.platform,
    here: () => ({ name: 'here', nodeId: 'here' }),
    placeOf: (caller) => ({ name: 'kai', nodeId: caller.kind === 'peer' ? caller.nodeId : '' }),
    onOpen: (row) => opened.push(row),
    onEnd: (row) => ended.push(row),
  });
});

afterEach(() => {
  ends.stop();
  disk.stop();
});

const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(Uint8Array.from(chunk)));
  return Buffer.concat(parts);
};

const openTarget = (caller: Caller, dest: string, more: { boot?: string; source?: string } = {}): Promise<string> =>
  ends
    .openTarget({ dest, roots: [{ name: 'note', type: 'file' }], source: 'theirs', platform: 'linux', ...more }, caller)
    .then(({ endId }) => endId);

/** A batch of one small file. */
async function* batchOf(content: string, mode = 0o644): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(content);
  yield encodeHeader([[0, '', bytes.length, 1_700_000_000_000, mode]]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  yield Buffer.concat([length, bytes, Buffer.of(0)]);
}

describe('an end that is open', () => {
  it(verifies('transfers.ends.own', 'is its opener’s alone: no other peer reads, writes or closes it'), async () => {
    await writeFile(join(home, 'mine'), 'mine');
    const { endId } = await ends.openSource({ paths: ['mine'] }, peer('kai'));
    expect(() => ends.read(endId, { kind: 'group', at: 0 }, peer('eve'))).toThrow(
      expect.objectContaining({ error: 'transfer_not_found' }),
    );
    await expect(ends.close({ endId }, peer('eve'))).rejects.toMatchObject({ error: 'transfer_not_found' });
    const target = await openTarget(peer('kai'), 'there');
    await expect(ends.write(target, peer('eve'), { step: 'batch', body: batchOf('x') })).rejects.toMatchObject({
      error: 'transfer_not_found',
    });
    expect(() => ends.read(target, { kind: 'group', at: 0 }, peer('kai'))).toThrow(
      expect.objectContaining({ error: 'transfer_not_found' }),
    );
    expect(await readdir(home)).not.toContain('there');
  });

  it('gives the manifest and the bytes of what was asked for', async () => {
    await mkdir(join(home, 'tree', 'sub'), { recursive: true });
    await writeFile(join(home, 'tree', 'sub', 'file'), 'bytes');
    const { endId, roots } = await ends.openSource({ paths: ['tree'] }, peer('kai'));
    expect(roots).toEqual([
      { name: 'tree', path: join(home, 'tree'), type: 'directory', mark: expect.stringMatching(/^\d/) },
    ]);
    const group = JSON.parse((await collect(ends.read(endId, { kind: 'group', at: 0 }, peer('kai')))).toString());
    expect(group).toMatchObject({ files: 1, bytes: 5, last: true, failed: [] });
    expect(group.entries.map(([kind, , path]: [number, number, string]) => [kind, path])).toEqual([
      [1, ''],
      [1, 'sub'],
      [0, 'sub/file'],
      [3, 'sub'],
      [3, ''],
    ]);
    const { mtimeMs } = await stat(join(home, 'tree', 'sub', 'file'));
    const range = { kind: 'range', file: [0, 'sub/file', 5, mtimeMs], from: 1, to: 4 } as const;
    expect((await collect(ends.read(endId, { ...range, file: [...range.file] }, peer('kai')))).toString()).toBe('yte');
  });

  it(
    verifies('transfers.acknowledged', 'takes a large file, says how far it is, and goes on where it broke off'),
    async () => {
      const endId = await openTarget(peer('kai'), 'there');
      const file = [0, '', 900_000, 1_700_000_000_000, 0o644];
      await ends.write(endId, peer('kai'), { step: 'prepare', body: JSON.stringify({ file }) });
      const span = { file: 1, at: 0, to: 900_000, turn: 0 };
      async function* half(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(600_000, 'a');
        throw new LoopsyError('request_timeout');
      }
      await expect(collect(ends.put(endId, peer('eve'), { ...span, body: half() }))).rejects.toMatchObject({
        error: 'transfer_not_found',
      });
      await expect(collect(ends.put(endId, peer('kai'), { ...span, body: half() }))).rejects.toMatchObject({
        error: 'request_timeout',
      });
      const resume = { step: 'resume', file: 1, body: '{"from":0}' } as const;
      expect(await ends.write(endId, peer('kai'), resume)).toEqual({ at: 600_000, turn: 1 });
      async function* rest(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(300_000, 'b');
      }
      const said = await collect(ends.put(endId, peer('kai'), { ...span, at: 600_000, turn: 1, body: rest() }));
      expect(said.toString()).toBe('{"done":true}\n');
      await ends.write(endId, peer('kai'), { step: 'commit', file: 1, body: '{"keep":[]}' });
      expect(await readFile(join(home, 'there'), 'utf8')).toBe('a'.repeat(600_000) + 'b'.repeat(300_000));
      expect(ends.rows()).toMatchObject([{ bytes: { sent: 900_000 } }]);
    },
  );

  it(
    verifies('transfers.ends.restart', 'is closed when its mover was started anew, which finds the files free'),
    async () => {
      const first = await openTarget(peer('kai'), 'there', { boot: 'one' });
      const file = [0, '', 2_000_000 / 4, 1_700_000_000_000, 0o644];
      await ends.write(first, peer('kai'), { step: 'prepare', body: JSON.stringify({ file }) });
      const beside = await openTarget(peer('kai'), 'there', { boot: 'one', source: 'other' });
      await expect(
        ends.write(beside, peer('kai'), { step: 'prepare', body: JSON.stringify({ file }) }),
      ).rejects.toMatchObject({ error: 'target_busy' });
      const second = await openTarget(peer('kai'), 'there', { boot: 'two' });
      await ends.write(second, peer('kai'), { step: 'prepare', body: JSON.stringify({ file }) });
      expect(ends.knows(first)).toBe(false);
      expect(ended.map(({ outcome }) => outcome)).toEqual(['lost', 'lost']);
    },
  );

  it(verifies('transfers.seen', 'is seen while it is open and told when it has ended'), async () => {
    const endId = await openTarget(peer('kai'), 'there');
    await ends.write(endId, peer('kai'), { step: 'batch', body: batchOf('hello') });
    expect(opened).toMatchObject([{ role: 'target', from: { name: 'kai' }, state: 'running' }]);
    expect(ends.rows()).toMatchObject([{ role: 'target', from: { name: 'kai' }, dest: 'there', state: 'running' }]);
    await ends.close({ endId, outcome: 'done', files: 1, bytes: 5, failed: 0 }, peer('kai'));
    expect(ended).toMatchObject([{ transferId: endId, outcome: 'done', files: { done: 1 }, state: 'ended' }]);
    expect(await readFile(join(home, 'there'), 'utf8')).toBe('hello');
    expect(ends.rows()).toEqual([]);
  });

  it(verifies('attack.shares', 'is no more than a caller’s share, whatever others have open'), async () => {
    for (let count = 0; count < 128; count += 1) await ends.openSource({ paths: ['~'] }, peer('kai'));
    await expect(ends.openSource({ paths: ['~'] }, peer('kai'))).rejects.toMatchObject({ error: 'too_many_streams' });
    const { endId } = await ends.openSource({ paths: ['~'] }, peer('maria'));
    await ends.openSource({ paths: ['~'] }, OWNER);
    await ends.close({ endId }, peer('maria'));
    expect(ends.endOf((caller) => caller === 'peer:kai')).toBe(128);
    await vi.waitFor(() => ends.openSource({ paths: ['~'] }, peer('kai')));
  });

  it(verifies('transfers.seen', 'says where the file really goes, and how many bytes of files have come'), async () => {
    const endId = await openTarget(peer('kai'), 'there');
    await ends.write(endId, peer('kai'), { step: 'batch', body: batchOf('hello') });
    expect(opened).toMatchObject([{ dest: 'there', path: join(home, 'there') }]);
    const [row] = ends.rows();
    expect(row).toMatchObject({ path: join(home, 'there'), bytes: { done: 5, found: 5 } });
    expect(row?.bytes.sent).toBeGreaterThan(5);
    await writeFile(join(home, 'mine'), 'mine');
    const { mtimeMs } = await stat(join(home, 'mine'));
    const source = await ends.openSource({ paths: ['mine'] }, peer('kai'));
    await collect(ends.read(source.endId, { kind: 'group', at: 0 }, peer('kai')));
    await collect(ends.read(source.endId, { kind: 'batch', files: [[0, '', 4, mtimeMs]] }, peer('kai')));
    expect(ends.rows()).toContainEqual(
      expect.objectContaining({ role: 'source', bytes: expect.objectContaining({ done: 4 }) }),
    );
  });

  it(
    verifies('transfers.seen', 'remembers why files did not arrive, each once, and what kept most of them'),
    async () => {
      const endId = await openTarget(peer('kai'), 'there');
      const large = { file: [0, '', 2_000_000, 1_700_000_000_000, 0o644] };
      for (let again = 0; again < 2; again += 1)
        await expect(
          ends.write(endId, peer('kai'), { step: 'prepare', body: JSON.stringify(large) }),
        ).rejects.toMatchObject({ error: 'file_too_large' });
      const message = expect.stringContaining('has 2000000 bytes');
      expect(ends.rows()).toMatchObject([{ files: { failed: 1 }, failures: [{ error: 'file_too_large', message }] }]);
      await ends.close({ endId, outcome: 'failed', files: 0, bytes: 0, failed: 1 }, peer('kai'));
      expect(ended).toMatchObject([{ outcome: 'failed', error: 'file_too_large', message, failures: [{ message }] }]);
    },
  );

  it(verifies('transfers.seen', 'is told of, too, where it was refused'), async () => {
    await expect(openTarget(peer('kai'), '/etc/x')).rejects.toMatchObject({ error: 'path_denied' });
    expect(opened).toEqual([]);
    expect(ended).toMatchObject([{ role: 'target', dest: '/etc/x', outcome: 'failed', error: 'path_denied' }]);
    await expect(openTarget(OWNER, '/etc/x')).rejects.toMatchObject({ error: 'path_denied' });
    expect(ended).toHaveLength(1);
  });

  it('is ended with its caller’s trust', async () => {
    const endId = await openTarget(peer('kai'), 'there');
    expect(ends.endOf((caller) => caller === 'peer:kai')).toBe(1);
    expect(ends.knows(endId)).toBe(false);
  });
});

describe('what a peer may reach', () => {
  const inFolder = (level: 'observe' | 'collaborate'): Caller =>
    peer('kai', { ...grantOfLevel(level), folders: [join(home, 'shared')] });

  it(verifies('transfers.ends.folders', 'is what its grant names, links and `..` included'), async () => {
    await mkdir(join(home, 'shared'));
    await writeFile(join(home, 'private'), 'private');
    await symlink('../private', join(home, 'shared', 'link'));
    for (const path of ['private', 'shared/../private', 'shared/link']) {
      const { roots, failures } = await ends.openSource({ paths: [path] }, inFolder('observe'));
      expect(roots).toEqual([]);
      expect(failures).toMatchObject([{ error: 'path_denied' }]);
    }
    await expect(openTarget(inFolder('collaborate'), 'private')).rejects.toMatchObject({ error: 'path_denied' });
    await expect(openTarget(inFolder('collaborate'), 'shared/link')).rejects.toMatchObject({ error: 'path_denied' });
  });

  it(verifies('attack.no-folder', 'is nothing at all below full where its grant lists no folder'), async () => {
    await writeFile(join(home, '.bashrc'), 'mine');
    for (const level of ['observe', 'collaborate'] as const) {
      for (const folders of [undefined, []]) {
        const grant: Grant = { ...grantOfLevel(level), ...(folders === undefined ? {} : { folders }) };
        const { roots, failures } = await ends.openSource({ paths: ['.bashrc', '~', '/etc'] }, peer('kai', grant));
        expect(roots).toEqual([]);
        expect(failures.map(({ error }) => error)).toEqual(['path_denied', 'path_denied', 'path_denied']);
        expect(failures[0]?.message).toContain('your grant lists no folder');
        for (const dest of ['.bashrc', 'new', './'])
          await expect(openTarget(peer('kai', grant), dest)).rejects.toMatchObject({ error: 'path_denied' });
      }
    }
    const key: Caller = { kind: 'key', name: 'ci', grant: grantOfLevel('collaborate') };
    await expect(openTarget(key, 'new')).rejects.toMatchObject({ error: 'path_denied' });
    expect(await readFile(join(home, '.bashrc'), 'utf8')).toBe('mine');
  });

  it(verifies('attack.login-files', 'is no file below full that a login runs, in a listed home too'), async () => {
    const grant: Grant = { ...grantOfLevel('collaborate'), folders: [home] };
    for (const dest of [
      '.bashrc',
      '.profile',
      '.zshenv',
      '.config/systemd/user/x.service',
      'Library/LaunchAgents/x.plist',
    ])
      await expect(openTarget(peer('kai', grant), dest), dest).rejects.toMatchObject({ error: 'path_denied' });
    await openTarget(peer('kai', grant), 'notes');
  });

  it('is nothing of the node’s own, nor what the config denies, whoever asks', async () => {
    await mkdir(join(home, 'secret'));
    await writeFile(join(home, 'secret', 'key'), 'key');
    for (const path of ['data', 'secret', 'secret/key']) {
      const { failures } = await ends.openSource({ paths: [path] }, OWNER);
      expect(failures, path).toMatchObject([{ error: 'path_denied' }]);
    }
    const { endId } = await ends.openSource({ paths: ['~'] }, OWNER);
    const group = (await collect(ends.read(endId, { kind: 'group', at: 0 }, OWNER))).toString();
    expect(JSON.parse(group).entries.map(([, , path]: [number, number, string]) => path)).not.toContain('secret/key');
    expect(group).toContain('path_denied');
  });

  it('is, below full, nothing that programs run by themselves', async () => {
    await mkdir(join(home, 'shared', '.git', 'hooks'), { recursive: true });
    const dest = join(home, 'shared', '.git', 'hooks', 'post-checkout');
    await expect(openTarget(inFolder('collaborate'), dest)).rejects.toMatchObject({ error: 'path_denied' });
    await expect(
      openTarget(peer('kai', { ...grantOfLevel('full'), scopes: ['files:write'] }), dest),
    ).rejects.toMatchObject({ error: 'path_denied' });
    await openTarget(peer('kai'), dest);
  });
});
