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

/** A queue whose writer answers when the test says so. */
const openQueue = (clock = new FakeClock()) => {
  const asked: Asked[] = [];
  const ask = (task: WriterTask): Promise<WriterAnswer> =>
    new Promise((resolve) => asked.push({ task, answer: resolve }));
  const queue = new CommitQueue({
    file: 'f',
    clock,
    ask,
    onCommitted: () => undefined,
    onSweepFailed: () => undefined,
  });
  const keys = (index: number): string[] => {
    const task = asked[index]?.task;
    return task?.kind === 'commit'
      ? task.batches.map(([first]) => (first !== undefined && 'put' in first ? first.put : ''))
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
      const all = ['a', 'b'].map((key) => queue.add(changes(key), 2, true));
      await turn();
      all.push(...['c', 'd'].map((key) => queue.add(changes(key), 2, true)), queue.add(changes('e'), 2, false));
      await turn();
      expect([asked.length, keys(0)]).toEqual([1, ['a', 'b']]);
      accept(0);
      await turn();
      expect(keys(1)).toEqual(['c', 'd', 'e']);
      accept(1);
      expect(await Promise.all(all)).toEqual([1, 2, 1, 2, 3]);
    },
  );

  it('bounds a group by its commits and by its size', async () => {
    const { queue, asked, keys, accept } = openQueue();
    const many = Array.from({ length: 1500 }, (_, n) => queue.add(changes(`${n}`), 1, true));
    const large = ['x', 'y', 'z'].map((key) => queue.add(changes(key), 3 * MI, true));
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
    const { queue, accept } = openQueue();
    const few = [queue.add(changes('a'), 8 * MI, true), queue.add(changes('b'), 8 * MI, true)];
    await expect(queue.add(changes('c'), 1, true)).rejects.toThrow(StoreBusy);
    await turn();
    few.push(queue.add(changes('d'), 1, true));
    const room = Array.from({ length: 9998 }, () => queue.add([], 0, true));
    await expect(queue.add(changes('e'), 0, false)).rejects.toThrow('too many commits wait for f');
    for (let index = 0; index < 12; index += 1) {
      accept(index);
      await turn();
    }
    await Promise.all([...few, ...room]);
  });

  it('gives each commit its own answer', async () => {
    const { queue, asked } = openQueue();
    const all = ['a', 'b'].map((key) => queue.add(changes(key), 2, true));
    await turn();
    asked[0]?.answer({ kind: 'committed', group: { before: 0, after: 1, results: [{ key: 'a', revision: 7 }, 1] } });
    await expect(all[0]).rejects.toEqual(new StoreConflict('a', 7));
    expect(await all[1]).toBe(1);
  });

  it('goes on after a group that failed', async () => {
    const { queue, asked, accept } = openQueue();
    const failed = queue.add(changes('a'), 2, true);
    await turn();
    asked[0]?.answer({ kind: 'failed', failure: { reason: 'other', message: 'disk I/O error' } });
    await expect(failed).rejects.toThrow('f was not written: disk I/O error');
    const next = queue.add(changes('b'), 2, true);
    await turn();
    accept(1);
    expect(await next).toBe(1);
  });

  it('takes a commit that is made at the very moment when the last one ends', async () => {
    const { queue, accept } = openQueue();
    const chain = queue.add(changes('a'), 2, true).then(() => queue.add(changes('b'), 2, true));
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
    const commit = queue.add(changes('a'), 2, true);
    asked[0]?.answer({ kind: 'swept', more: true });
    await turn();
    accept(1);
    await commit;
    await turn();
    asked[2]?.answer({ kind: 'swept', more: false });
    await queue.drain();
    expect(asked.map(({ task }) => task.kind)).toEqual(['sweep', 'commit', 'sweep']);
  });
});
