import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BoundedQueue } from '../../src/kernel/bounded-queue.ts';

describe('a bounded queue', () => {
  it('does what a list with a limit does', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.nat() },
      { weight: 4, arbitrary: fc.constant('shift' as const) },
      fc.constant('clear' as const),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 200 }), (limit, steps) => {
        const queue = new BoundedQueue<number>(limit);
        const model: number[] = [];
        for (const one of steps) {
          if (one === 'shift') expect(queue.shift()).toBe(model.shift());
          else if (one === 'clear') {
            queue.clear();
            model.length = 0;
          } else {
            expect(queue.push(one)).toBe(model.length < limit);
            if (model.length < limit) model.push(one);
          }
          expect(queue.length).toBe(model.length);
        }
      }),
    );
  });
});
