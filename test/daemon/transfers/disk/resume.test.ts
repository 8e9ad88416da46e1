import * as fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { draftNameOf } from '../../../../src/daemon/transfers/disk/draft-names.ts';
import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { CHUNK_BYTES, ENTRY } from '../../../../src/daemon/transfers/format.ts';
import { seedOfRun } from '../../../helpers/seed.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { closeTarget, diskIn, draftsIn, errorOf, move, targetAt, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const send = () => move([disk, disk], [['~/big'], '~/copy']);
const openCopy = () => targetAt(disk, '~/copy', { digest: true, roots: [{ name: 'big', type: 'file' }] });

/** Sends the first bytes of `~/big`, and breaks off. */
const sendPart = async (bytes: number): Promise<void> => {
  const { size, mtimeMs } = statSync(join(home, 'big'));
  const target = await openCopy();
  const { file } = await target.prepare([0, '', size, mtimeMs, 0o644]);
  const all = readFileSync(join(home, 'big'));
  const put = new PutSink(target.large, { file, at: 0, to: size, turn: 0 });
  put.take(all.subarray(0, bytes));
  if (bytes === size) await put.end();
  else put.abort();
  await closeTarget(disk, target, false);
};

describe('a large file', () => {
  it(
    verifies(
      'transfers.resume',
      'that was cut off at any byte goes on: what arrived as whole chunks is not sent again',
    ),
    async () => {
      const size = 3 * CHUNK_BYTES + 123_456;
      const bytes = randomBytes(size);
      writeFileSync(join(home, 'big'), bytes);
      const cut = fc.oneof(
        fc.integer({ min: 0, max: size }),
        fc.constantFrom(0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, size - 1, size),
      );
      await fc.assert(
        fc.asyncProperty(cut, async (at) => {
          rmSync(join(home, 'copy'), { force: true });
          await sendPart(at);
          expect(existsSync(join(home, 'copy'))).toBe(false);
          const { failed, sentLarge } = await send();
          expect(failed).toEqual([]);
          const whole = at === size ? size : Math.floor(at / CHUNK_BYTES) * CHUNK_BYTES;
          expect(sentLarge).toBe(size - whole);
          expect(sha(readFileSync(join(home, 'copy')))).toBe(sha(bytes));
          expect(draftsIn(home)).toEqual([]);
        }),
        { seed: seedOfRun('cuts'), numRuns: 12 },
      );
    },
    60_000,
  );

  it(
    verifies('transfers.resume', 'of one that changed the changed chunks are sent, and behind an insertion all'),
    async () => {
      const big = join(home, 'big');
      const base = randomBytes(3 * CHUNK_BYTES + 10);
      writeFileSync(big, base);
      expect((await send()).sentLarge).toBe(base.length);
      appendFileSync(big, randomBytes(20));
      expect((await send()).sentLarge).toBe(30);
      const overwritten = readFileSync(big);
      overwritten[CHUNK_BYTES + 5] = (overwritten[CHUNK_BYTES + 5] ?? 0) ^ 1;
      writeFileSync(big, overwritten);
      expect((await send()).sentLarge).toBe(CHUNK_BYTES);
      writeFileSync(big, overwritten.subarray(0, 2 * CHUNK_BYTES + 7));
      expect((await send()).sentLarge).toBe(0);
      const inserted = Buffer.concat([
        overwritten.subarray(0, CHUNK_BYTES),
        Buffer.of(1),
        overwritten.subarray(CHUNK_BYTES),
      ]);
      writeFileSync(big, inserted);
      expect((await send()).sentLarge).toBe(inserted.length - CHUNK_BYTES);
      expect(sha(readFileSync(join(home, 'copy')))).toBe(sha(inserted));
      // Nothing but a time: nothing is sent, and the time is kept.
      utimesSync(big, 1000, 1000);
      expect((await send()).sentLarge).toBe(0);
      expect(statSync(join(home, 'copy')).mtimeMs).toBe(1_000_000);
      const picky = await move([disk, disk], [['~/big'], '~/copy'], { checksum: true });
      expect([picky.files, picky.skipped, picky.sentLarge]).toEqual([0, 1, 0]);
    },
  );

  it(
    verifies('transfers.checksum', 'has the checksum of what lies at the target: sha256 over the sha256 of its chunks'),
    async () => {
      const bytes = randomBytes(CHUNK_BYTES + 9);
      const hash = createHash('sha256');
      for (const part of [bytes.subarray(0, CHUNK_BYTES), bytes.subarray(CHUNK_BYTES)])
        hash.update(createHash('sha256').update(part).digest());
      const expected = hash.digest('hex');
      writeFileSync(join(home, 'copy'), bytes.subarray(0, CHUNK_BYTES));
      const target = await openCopy();
      const { file, hashes } = await target.prepare([0, '', bytes.length, 5, 0o644]);
      expect(hashes).toEqual([sha(bytes.subarray(0, CHUNK_BYTES))]);
      const put = new PutSink(target.large, { file, at: CHUNK_BYTES, to: bytes.length, turn: 0 });
      put.take(bytes.subarray(CHUNK_BYTES));
      await put.end();
      expect(await target.large.commit(file, [[0, 1]])).toEqual({ checksum: expected });
      await closeTarget(disk, target);
    },
  );

  it.each(['link', 'hard link', 'folder', 'pipe'])(
    'a draft that is a %s is not used, and what it is about stays',
    async (kind) => {
      writeFileSync(join(home, 'big'), randomBytes(2_000_000));
      writeFileSync(join(home, 'victim'), 'victim'.repeat(200_000));
      const draft = join(home, draftNameOf('copy', disk.around.nodeId));
      if (kind === 'link') symlinkSync('victim', draft);
      if (kind === 'hard link') linkSync(join(home, 'victim'), draft);
      if (kind === 'folder') mkdirSync(draft);
      if (kind === 'pipe') execFileSync('mkfifo', [draft]);
      const moved = kind === 'folder' ? await errorOf(send()) : (await send()).failed;
      expect(moved).toEqual(kind === 'folder' ? 'wrong_type' : []);
      expect(readFileSync(join(home, 'victim'), 'utf8')).toBe('victim'.repeat(200_000));
      expect(disk.locks.isFree).toBe(true);
      if (kind !== 'folder')
        expect(readFileSync(join(home, 'copy')).equals(readFileSync(join(home, 'big')))).toBe(true);
    },
  );

  it("a draft that is somebody else's is not used", async (context) => {
    if (process.getuid?.() !== 0) return context.skip('needs root, to make a file of somebody else');
    writeFileSync(join(home, 'big'), randomBytes(2_000_000));
    const draft = join(home, draftNameOf('copy', disk.around.nodeId));
    writeFileSync(draft, 'theirs');
    chownSync(draft, 65_534, 65_534);
    expect((await send()).failed).toEqual([]);
    expect(statSync(join(home, 'copy')).uid).toBe(0);
  });

  it('no more than 64 are open at once', async () => {
    const many = await targetAt(disk, '~/many', { roots: [{ name: 'x', type: 'directory' }] });
    await many.plan([[ENTRY.folder, 0, '', 0, 1, 0o755]]);
    const open = Array.from({ length: 70 }, (_, index) => errorOf(many.prepare([0, `f${index}`, 2e6, 1, 0o644])));
    const answers = await Promise.all(open);
    expect(answers.filter((answer) => answer === 'invalid_request').length).toBe(6);
    await closeTarget(disk, many, false);
    expect(disk.locks.isFree).toBe(true);
  });

  it('asked for twice at once it is one', async () => {
    const target = await openCopy();
    const asked = [0, '', 2_000_000, 5, 0o644] as const;
    const [one, two] = await Promise.all([target.prepare(asked), target.prepare(asked)]);
    expect(two.file).not.toBe(one.file);
    expect(() => new PutSink(target.large, { file: one.file, at: 0, to: 5, turn: 0 })).toThrow('not open');
    target.large.drop(two.file);
    await closeTarget(disk, target);
    expect([draftsIn(home), disk.locks.isFree]).toEqual([[], true]);
  });
});
