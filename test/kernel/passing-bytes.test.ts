import { constants, PerformanceObserver } from 'node:perf_hooks';

import { describe, expect, it } from 'vitest';

import { notePassing } from '../../src/kernel/passing-bytes.ts';

const MiB = 1_048_576;

/** How often all of the memory was looked through meanwhile. */
const majors = async (work: () => void): Promise<number> => {
  let count = 0;
  const look = (entries: readonly object[]): void => {
    for (const entry of entries) {
      // Node's types leave out what entries of this kind say of themselves.
      const { detail } = entry as { detail?: { kind?: number } };
      if (detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count += 1;
    }
  };
  const observer = new PerformanceObserver((list) => look(list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  work();
  await new Promise((resolve) => setTimeout(resolve, 20));
  look(observer.takeRecords());
  observer.disconnect();
  return count;
};

describe('bytes that pass', () => {
  it('have the memory looked through once for much that is in use, not again for each few of them', async () => {
    const inUse = Array.from({ length: 64 }, () => Buffer.alloc(MiB));
    const count = await majors(() => {
      for (let at = 0; at < 50; at += 1) notePassing(4 * MiB);
    });
    expect(count).toBeLessThanOrEqual(3);
    expect(inUse).toHaveLength(64);
  });

  it('leave no pile of dead chunks behind, however old these grow', async () => {
    const waiting: Buffer[] = [];
    let most = 0;
    for (let at = 0; at < 2000; at += 1) {
      waiting.push(Buffer.alloc(MiB / 4));
      if (waiting.length > 32) waiting.shift();
      notePassing(MiB / 4);
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
    // What waits, what was alive before, and what may be dead.
    expect(most).toBeLessThan((8 + 64 + 40) * MiB);
  });
});
