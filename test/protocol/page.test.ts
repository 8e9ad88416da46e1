import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';
import { verifies } from '../requirements.ts';

/** The operations that are asked for page by page, as the table has them. */
const LISTS = OPERATION_IDS.filter((id) => {
  const { input } = rowOf(id);
  return input instanceof z.ZodObject && 'cursor' in input.shape && 'limit' in input.shape;
});

describe('the cursor of a list', () => {
  it.each(LISTS)(verifies('rest.bad-cursor', '%s: what no answer can have named is refused as it came'), (id) => {
    const { input } = rowOf(id);
    for (const cursor of ['\0', 'a\0b', '\ud800', '\udc00x', 'x'.repeat(1025), 'ü'.repeat(513)]) {
      const result = input.safeParse({ cursor });
      const issues = result.error?.issues.filter(({ path }) => path.join('.') === 'cursor') ?? [];
      expect(issues.length, JSON.stringify(cursor.slice(0, 9))).toBeGreaterThan(0);
    }
  });

  it('is one of all lists', () => {
    expect(LISTS).toEqual(expect.arrayContaining(['peer.list', 'context.list', 'lease.list', 'file.list', 'key.list']));
    expect(LISTS.length).toBeGreaterThanOrEqual(9);
    expect(rowOf('context.list').input.safeParse({ cursor: `${'k'.repeat(500)}\u{1f600}` }).success).toBe(true);
  });
});
