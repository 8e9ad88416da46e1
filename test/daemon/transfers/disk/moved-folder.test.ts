import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { BatchSink } from '../../../../src/daemon/transfers/disk/batch-sink.ts';
import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { Journals, KEEP_MS } from '../../../../src/daemon/transfers/disk/journal.ts';
import { CHUNK_BYTES, encodeHeader } from '../../../../src/daemon/transfers/format.ts';
import { verifies } from '../../../requirements.ts';
import { faults } from './failing-fs.ts';
import { useFaultTree } from './faults-setup.ts';
import { batchOf, closeTarget, draftsIn, whys } from './setup.ts';

vi.mock('node:fs', async (original) => (await import('./failing-fs.ts')).failingFs(await original<typeof fs>()));

const tree = useFaultTree();
const DAY_MS = 86_400_000;
const FILES = ['a', 'b', 'c'].map((name) => [name, 'some bytes'] as const);

const moveAway = (): void => fs.renameSync(join(tree.home, 'tree'), join(tree.home, 'moved'));
const journalsLeft = (): string[] => fs.readdirSync(tree.disk.around.journalDir);

/** A batch of which two files and a half have come. */
const begunBatch = (): { sink: BatchSink; rest: Uint8Array } => {
  const { header, bytes } = batchOf(FILES);
  const sink = new BatchSink(tree.target);
  const come = encodeHeader(header).length + Math.floor(((bytes.length - encodeHeader(header).length) * 5) / 6);
  sink.take(bytes.subarray(0, come));
  return { sink, rest: bytes.subarray(come) };
};

describe('a folder that is moved away while files come', () => {
  it(verifies('transfers.leftovers', 'keeps no draft of small ones, and its sender hears why'), async () => {
    const { sink, rest } = begunBatch();
    moveAway();
    sink.take(rest);
    const { done, failed } = await sink.end();
    expect(done).toBe(0);
    expect(whys(failed)).toEqual(FILES.map(([name]) => `tree/${name} path_denied`));
    expect(failed[0]?.slice(2, 4)).toEqual([
      '"tree/a" lies elsewhere now: the folder that it came into was moved away',
      'run the same command again: it makes the folder anew where it was, or move that one back first',
    ]);
    expect(draftsIn(tree.home)).toEqual([]);
    await closeTarget(tree.disk, tree.target, false);
    expect(journalsLeft()).toEqual([]);
  });

  it(verifies('transfers.leftovers', 'keeps none either where they broke off'), async () => {
    begunBatch();
    moveAway();
    await closeTarget(tree.disk, tree.target, false);
    expect([draftsIn(tree.home), journalsLeft()]).toEqual([[], []]);
  });

  it(verifies('transfers.leftovers', 'keeps none of a large one, which nobody would find again'), async () => {
    const file = await tree.prepareLarge('large');
    const sink = new PutSink(tree.target.large, { file, at: 0, to: CHUNK_BYTES, turn: 0 });
    sink.take(Buffer.alloc(1000));
    moveAway();
    await closeTarget(tree.disk, tree.target, false);
    expect([draftsIn(tree.home), journalsLeft()]).toEqual([[], []]);
  });
});

describe('a draft that can not be removed', () => {
  beforeEach(() => fs.mkdirSync(tree.disk.around.journalDir, { recursive: true }));

  it(verifies('transfers.leftovers', 'of a small file stays in the journal, and goes at a later start'), async () => {
    begunBatch();
    faults.set('unlink', { skip: 0, code: 'EACCES' });
    await closeTarget(tree.disk, tree.target, false);
    expect(draftsIn(tree.home)).toHaveLength(3);
    const sweepAfter = (ms: number): void => new Journals(tree.disk.around.journalDir).sweep(Date.now() + ms);
    sweepAfter(DAY_MS);
    expect([draftsIn(tree.home).length, journalsLeft().length]).toEqual([3, 1]);
    faults.clear();
    sweepAfter(DAY_MS);
    expect([draftsIn(tree.home), journalsLeft()]).toEqual([[], []]);
  });

  it(verifies('transfers.leftovers', 'of a large one stays in the journal, too'), async () => {
    const file = await tree.prepareLarge('large');
    faults.set('unlink', { skip: 0, code: 'EACCES' });
    tree.target.large.drop(file);
    await closeTarget(tree.disk, tree.target);
    faults.clear();
    expect([draftsIn(tree.home).length, journalsLeft().length]).toEqual([1, 1]);
    new Journals(tree.disk.around.journalDir).sweep(Date.now() + KEEP_MS + DAY_MS);
    expect([draftsIn(tree.home), journalsLeft()]).toEqual([[], []]);
  });
});
