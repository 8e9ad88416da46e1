import { describe, expect, it } from 'vitest';

import { Recent } from '../../src/store/recent.ts';

const entry = (key: string, value: string, revision = 1) => ({ key, value, revision });

describe('entries that were put or read lately', () => {
  it('are held as the file has them, and not while it may have something else', () => {
    const recent = new Recent();
    const [first, second, gone] = [[{ put: 'a', value: '1' }], [{ put: 'a', value: '2' }], [{ delete: 'a' }]];
    recent.begin(first);
    recent.keep(entry('a', 'read meanwhile'));
    expect(recent.get('a')).toBeUndefined();
    recent.begin(second);
    recent.end(first, 1);
    expect(recent.get('a')).toBeUndefined();
    recent.end(second, 2);
    expect(recent.get('a')).toEqual(entry('a', '2', 2));
    recent.begin(gone);
    expect(recent.get('a')).toBeUndefined();
    recent.end(gone);
    recent.keep(entry('a', '2', 2));
    expect(recent.get('a')).toEqual(entry('a', '2', 2));
    recent.begin(gone);
    recent.end(gone, 3);
    expect(recent.get('a')).toBeUndefined();
  });

  it('are bounded, by what they hold: the oldest go, and a large one is not held', () => {
    const recent = new Recent();
    recent.keep(entry('large', 'x'.repeat(65_537)));
    expect(recent.get('large')).toBeUndefined();
    for (let at = 0; at < 100; at += 1) recent.keep(entry(`k${at}`, 'x'.repeat(60_000)));
    const held = Array.from({ length: 100 }, (_, at) => recent.get(`k${at}`)).filter((one) => one !== undefined);
    expect(held.map(({ key }) => key)).toEqual(Array.from({ length: 34 }, (_, at) => `k${at + 66}`));
    recent.clear();
    expect(recent.get('k99')).toBeUndefined();
  });
});
