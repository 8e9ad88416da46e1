import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { MIGRATIONS } from '../../src/store/schema.ts';

describe('the migrations', () => {
  it('that were released are never edited: a new one joins at the end', () => {
    const digests = MIGRATIONS.map((sql) => createHash('sha256').update(sql).digest('hex').slice(0, 16));
    expect(digests).toEqual(['6663440bc02fb4cd', '5b2f00047d82c1f4', 'bf2b84beeaf436ca', 'a89179c5468ff57b']);
  });
});
