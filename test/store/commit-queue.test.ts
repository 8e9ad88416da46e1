import { describe, expect, it } from 'vitest';

import { CommitQueue } from '../../src/store/commit-queue.ts';
import { StoreBusy, StoreConflict, type Change } from '../../src/store/store.ts';
import type { WriterAnswer, WriterTask } from '../../src/store/writer-protocol.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';

interface Asked {
  readonly task: WriterTask;
  answer(answer: WriterAnswer): void;
}

const MI = 1024 * 1024;
const changes = (key: string): Change[] => [{ put: key, value: 'v' }];
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const add = (
  queue: CommitQueue,
  batch: readonly Change[],
  how: { readonly length: number; readonly urgent: boolean },
): Promise<number> => queue.add({ changes: batch }, how);
const swept = (more: boolean): WriterAnswer => ({ kind: 'swept', swept: { before: 0, after: 0, keys: [], more } });

/** A queue whose writer answers when the test says so. */
const openQueue = (clock = new FakeClock()) => {
  const asked: Asked[] = [];
  const ask = (task: WriterTask): Promise<WriterAnswer> =>
    new Promise((resolve) => asked.push({ task, answer: resolve }));
  const queue = new CommitQueue({
    file: 'f',
    clock,
    ask,
    now: () => clock.now(),
    onCommitted: () => undefined,
    isFollowed: () => false,
    onSwept: () => undefined,
    onSweepFailed: () => undefined,
  });
  const keys = (index: number): string[] => {
    const task = asked[index]?.task;
    return task?.kind === 'commit'
      ? task.batches.map(({ changes: [first] }) => (first !== undefined && 'put' in first ? first.put : ''))
      : [];
  };
  const accept = (index: number): void => {
    const results = keys(index).map((_, n) => n + 1);
    asked[index]?.answer({ kind: 'committed', group: { before: 0, after: results.length, results } });
  };
  return { queue, asked, keys, accept };
};

describe('the queue of commits', () => {
  it(
    verifies(
      'store.group-commit',
      'makes one group of what came in one turn, and the next of what came while that was written',
    ),
    async () => {
      const { queue, keys, accept, asked } = openQueue();
      const all = ['a', 'b'].map((key) => add(queue, changes(key), { length: 2, urgent: true }));
      await turn();
      all.push(
        ...['c', 'd'].map((key) => add(queue, changes(key), { length: 2, urgent: true })),
        add(queue, changes('e'), { length: 2, urgent: false }),
      );
      await turn();
      expect([asked.length, keys(0)]).toEqual([1, ['a', 'b']]);
      accept(0);
      await turn();
      expect(keys(1)).toEqual(['c', 'd', 'e']);
      accept(1);
      expect(await Promise.all(all)).toEqual([1, 2, 1, 2, 3]);
    },
  );

  it('gives the thread the next group while it writes one, where enough has come, and a bounded number of them', async () => {
    const { queue, asked, keys, accept } = openQueue();
    const commit = (key: string): Promise<number> => add(queue, changes(key), { length: 2, urgent: true });
    const all = [commit('first')];
    await turn();
    for (let at = 0; at < 50; at += 1) all.push(commit(`${at}`));
    await turn();
    expect(asked.map((_, at) => keys(at).length)).toEqual([1, 8, 8, 8]);
    for (let at = 0; at < 4; at += 1) accept(at);
    await turn();
    expect(keys(4)).toHaveLength(26);
    accept(4);
    expect(await Promise.all(all)).toHaveLength(51);
    expect(asked.flatMap((_, at) => keys(at))).toEqual(['first', ...Array.from({ length: 50 }, (_, at) => `${at}`)]);
  });

  it('bounds a group by its commits and by its size', async () => {
    const { queue, asked, keys, accept } = openQueue();
    const many = Array.from({ length: 1500 }, (_, n) => add(queue, changes(`${n}`), { length: 1, urgent: true }));
    const large = ['x', 'y', 'z'].map((key) => add(queue, changes(key), { length: 3 * MI, urgent: true }));
    const sizes: number[] = [];
    for (let index = 0; sizes.reduce((sum, size) => sum + size, 0) < 1503; index += 1) {
      await turn();
      sizes.push(keys(index).length);
      accept(index);
    }
    expect(sizes).toEqual([1024, 477, 1, 1]);
    expect(asked).toHaveLength(4);
    await Promise.all([...many, ...large]);
  });

  it('refuses what is too much, in number and in size, and takes more when there is room', async () => {
    const { queue, asked, accept } = openQueue();
    const few = [
      add(queue, changes('a'), { length: 8 * MI, urgent: true }),
      add(queue, changes('b'), { length: 8 * MI, urgent: true }),
    ];
    await expect(add(queue, changes('c'), { length: 1, urgent: true })).rejects.toThrow(StoreBusy);
    await turn();
    few.push(add(queue, changes('d'), { length: 1, urgent: true }));
    const room = Array.from({ length: 9998 }, () => add(queue, [], { length: 0, urgent: true }));
    await expect(add(queue, changes('e'), { length: 0, urgent: false })).rejects.toThrow('too many commits wait for f');
    for (let index = 0; index < asked.length; index += 1) {
      accept(index);
      await turn();
    }
    await Promise.all([...few, ...room]);
  });

  it('gives each commit its own answer', async () => {
    const { queue, asked } = openQueue();
    const all = ['a', 'b'].map((key) => add(queue, changes(key), { length: 2, urgent: true }));
    await turn();
    asked[0]?.answer({ kind: 'committed', group: { before: 0, after: 1, results: [{ key: 'a', revision: 7 }, 1] } });
    await expect(all[0]).rejects.toEqual(new StoreConflict('a', 7));
    expect(await all[1]).toBe(1);
  });

  it('goes on after a group that failed', async () => {
    const { queue, asked, accept } = openQueue();
    const failed = add(queue, changes('a'), { length: 2, urgent: true });
    await turn();
    asked[0]?.answer({ kind: 'failed', failure: { reason: 'other', message: 'disk I/O error' } });
    await expect(failed).rejects.toThrow('f was not written: disk I/O error');
    const next = add(queue, changes('b'), { length: 2, urgent: true });
    await turn();
    accept(1);
    expect(await next).toBe(1);
  });

  it('takes a commit that is made at the very moment when the last one ends', async () => {
    const { queue, accept } = openQueue();
    const chain = add(queue, changes('a'), { length: 2, urgent: true }).then(() =>
      add(queue, changes('b'), { length: 2, urgent: true }),
    );
    await turn();
    accept(0);
    await turn();
    accept(1);
    expect(await chain).toBe(1);
    expect(queue.isWriting).toBe(false);
  });

  it('sweeps between commits, in as many steps as it takes', async () => {
    const { queue, asked, accept } = openQueue();
    queue.sweep();
    await turn();
    const commit = add(queue, changes('a'), { length: 2, urgent: true });
    asked[0]?.answer(swept(true));
    await turn();
    accept(1);
    await commit;
    await turn();
    asked[2]?.answer(swept(false));
    await queue.drain();
    expect(asked.map(({ task }) => task.kind)).toEqual(['sweep', 'commit', 'sweep']);
  });
});
