import { expect, it } from 'vitest';

import { wallTimeOf } from '../../src/store/wall-time.ts';
import { verifies } from '../requirements.ts';

it(
  verifies('store.wall-time', 'a time of the store’s is shown as one time, and follows a wall clock that is set'),
  () => {
    let [wall, stored] = [1_000_000, 5000.4];
    const toWall = wallTimeOf({ now: () => stored }, { now: () => wall });
    const shown = toWall(6000);
    for (const [wallMs, storedMs] of [
      [1, 0.3],
      [0, 0.9],
      [7, 0.2],
    ] as const) {
      [wall, stored] = [wall + wallMs, stored + storedMs];
      expect(toWall(6000)).toBe(shown);
    }
    wall += 86_400_000;
    expect(toWall(6000) - shown).toBe(86_400_006);
    wall -= 2 * 86_400_000;
    expect(toWall(6000) - shown).toBe(6 - 86_400_000);
  },
);
