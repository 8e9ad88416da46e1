import { describe, expect, it } from 'vitest';

import { WriteWindows } from '../../../src/daemon/transfers/write-windows.ts';
import { verifies } from '../../requirements.ts';

const MiB = 1_048_576;

describe('what is on its way to the disk', () => {
  it(verifies('transfers.windows', 'is at most 8 MiB of one writer, who goes on when half of it has arrived'), () => {
    const window = new WriteWindows().open();
    let woken = 0;
    window.onRoom(() => (woken += 1));
    window.add(8 * MiB - 1);
    expect(window.mustWait()).toBe(false);
    window.add(1);
    expect(window.mustWait()).toBe(true);
    window.take(4 * MiB);
    expect(woken).toBe(0);
    window.take(1);
    window.take(MiB);
    expect(woken).toBe(1);
    expect(window.mustWait()).toBe(false);
    window.close();
    expect(woken).toBe(2);
  });

  it(
    verifies('transfers.windows', 'is at most 32 MiB of all, and a piece of each; one that ends gives its part back'),
    () => {
      const all = new WriteWindows();
      const windows = Array.from({ length: 100 }, () => all.open());
      const woken = new Set<number>();
      for (const [at, window] of windows.entries()) {
        window.onRoom(() => woken.add(at));
        while (!window.mustWait()) window.add(MiB / 2);
      }
      // Eight-MiB windows, as long as there is room; then one piece each.
      expect(windows.filter((window) => window.mustWait())).toHaveLength(100);
      woken.clear();
      const [first, second, third, ...rest] = windows;
      first?.close();
      second?.close();
      expect([...woken]).toEqual([0, 1]);
      third?.close();
      for (const window of rest) window.close();
      expect(woken.size).toBe(100);
      const fresh = all.open();
      fresh.add(MiB);
      expect(fresh.mustWait()).toBe(false);
    },
  );
});
