import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodeRequest, inputInQuery, pathFields } from '../../src/protocol/operation.ts';
import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';

/** Reads a request as a node does. */
const decode = (
  id: (typeof OPERATION_IDS)[number],
  { path, body }: { path: string; body: string | undefined },
): Record<string, unknown> => {
  const op = rowOf(id);
  const [route = '', search = ''] = path.split('?');
  const parts = route.split('/');
  const params = op.path
    .split('/')
    .flatMap((part, at) => (part.startsWith(':') ? [[part.slice(1), decodeURIComponent(parts[at] ?? '')]] : []));
  const query = Object.fromEntries([...new URLSearchParams(search)].filter(([name]) => name !== 'peer'));
  expect(parts).toHaveLength(op.path.split('/').length);
  return { ...query, ...(body === undefined ? {} : JSON.parse(body)), ...Object.fromEntries(params) };
};

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
const fieldName = fc.stringMatching(/^[a-z]{1,8}$/).filter((name) => name !== 'peer');

describe('a request of an operation', () => {
  it('arrives as it was sent, for every operation and whatever its fields hold', () => {
    const inputs = fc.tuple(
      fc.constantFrom(...OPERATION_IDS),
      fc.dictionary(fieldName, text, { maxKeys: 5 }),
      fc.infiniteStream(text),
    );
    fc.assert(
      fc.property(inputs, ([id, fields, words]) => {
        const named = Object.fromEntries(pathFields(rowOf(id).path).map((name) => [name, words.next().value]));
        const input = { ...fields, ...named };
        const mark = Object.fromEntries(new URLSearchParams(rowOf(id).path.split('?')[1]));
        expect(decode(id, encodeRequest(rowOf(id), input))).toEqual({ ...mark, ...input });
      }),
    );
  });

  it.each(['.', '..', '../x', 'a/b', '%2e%2e', '?peer=x', '#', ' ', 'ü'])(
    'holds %j in one segment of its path',
    (value) => {
      const { path } = encodeRequest(rowOf('peer.show'), { nodeId: value });
      expect(path).toMatch(/^\/peers\/[^/?#]+$/);
      expect(path).not.toMatch(/\/\.{1,2}$/);
      expect(decode('peer.show', { path, body: undefined })).toEqual({ nodeId: value });
    },
  );

  it('names the peer in its query, never in its body, and leaves out what is not given', () => {
    expect(encodeRequest(rowOf('job.execute'), { command: 'a', cwd: undefined }, 'kai&x=1')).toEqual({
      path: '/execute?peer=kai%26x%3D1',
      body: '{"command":"a"}',
    });
    expect(encodeRequest(rowOf('job.list'), { state: undefined, limit: 2 }).path).toBe('/execute/jobs?limit=2');
  });

  it('has no body where it reads, deletes or carries bytes', () => {
    for (const id of OPERATION_IDS) {
      const op = rowOf(id);
      expect([id, inputInQuery(op)]).toEqual([
        id,
        op.method === 'GET' || op.method === 'DELETE' || op.kind === 'upload' || op.kind === 'exchange',
      ]);
    }
  });
});
