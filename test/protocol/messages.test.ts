import { describe, expect, it } from 'vitest';

import { type OperationId, rowOf } from '../../src/protocol/operations.ts';

const said = (id: OperationId, input: unknown): string | undefined =>
  rowOf(id).input.safeParse(input).error?.issues[0]?.message;

describe('an input that does not fit', () => {
  it.each([
    ['message.send', { to: 'kai', body: '' }, 'a body is not empty'],
    ['message.send', { to: 'kai', body: 'x', ttl: 31_536_001 }, 'a time to live is 1 s to 31536000 s (a year)'],
    ['message.send', { to: 'kai', body: 'x', ttl: 1.5 }, 'a time to live is 1 s to 31536000 s (a year)'],
    ['message.send', { to: '', body: 'x' }, 'an address is <node>, <node>#<agent>, or #<agent>'],
    ['message.send', { to: 'x'.repeat(400), body: 'x' }, 'an address is <node>, <node>#<agent>, or #<agent>'],
    ['message.ack', { id: '01j8zq0v3m8k2t4n6p8r0s2v6z', note: 'x'.repeat(1001) }, 'a note has at most 1000 characters'],
    ['message.wait', { after: 'soon' }, 'it is no cursor of this list'],
    ['context.set', { key: 'k', value: 'v', ttl: 1e9 }, 'a time to live is 1 s to 315360000 s (ten years)'],
    ['lease.acquire', { name: 'n', ttl: 86_401 }, 'a lease is held for 1 s to 86400 s (a day)'],
  ] as const)('%s %j is told in words', (id, input, words) => {
    expect(said(id, input)).toBe(words);
  });
});
