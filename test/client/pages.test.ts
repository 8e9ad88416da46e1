import { describe, expect, it } from 'vitest';

import { createClient } from '../../src/client/client.ts';
import { itemsOf, pagesOf } from '../../src/client/pages.ts';

/** A node whose list leads from each page to the next, by `nextOf`. */
const nodeOf = (nextOf: (cursor: string | null) => string | undefined) => {
  const asked: string[] = [];
  const client = createClient({
    transport: async ({ path }) => {
      asked.push(path);
      const cursor = new URL(path, 'http://node').searchParams.get('cursor');
      const nextCursor = nextOf(cursor);
      const body = async function* bytes() {
        yield Buffer.from(JSON.stringify({ keys: [{ name: `behind ${cursor ?? 'nothing'}` }], nextCursor }));
      };
      return { status: 200, header: () => undefined, body: body(), trailer: () => undefined };
    },
  });
  return { client, asked };
};

describe('the pages of a list', () => {
  it('follow each other to the end, with the same question', async () => {
    const { client, asked } = nodeOf((cursor) => (cursor === null ? 'a&b' : cursor === 'a&b' ? 'c' : undefined));
    const pages = pagesOf(client, 'job.list', { input: { state: 'all' }, peer: 'kai' });
    let count = 0;
    for await (const page of pages) count += 'keys' in page ? 1 : 0;
    expect(count).toBe(3);
    expect(asked).toEqual([
      '/api/v1/execute/jobs?peer=kai&state=all',
      '/api/v1/execute/jobs?peer=kai&state=all&cursor=a%26b',
      '/api/v1/execute/jobs?peer=kai&state=all&cursor=c',
    ]);
  });

  it('are asked for one by one: who leaves the loop asks for no more', async () => {
    const { client, asked } = nodeOf((cursor) => `${cursor ?? ''}x`);
    for await (const { keys } of pagesOf(client, 'key.list', { input: {} })) if (keys.length > 0) break;
    expect(asked).toHaveLength(1);
  });

  it('give their items as one list', async () => {
    const { client } = nodeOf((cursor) => (cursor === null ? 'a' : undefined));
    const names = await itemsOf(pagesOf(client, 'key.list', { input: {} }), ({ keys }) => keys.map(({ name }) => name));
    expect(names).toEqual(['behind nothing', 'behind a']);
  });

  it('of a node that leads in a circle, or without end, end in an error', async () => {
    const { client, asked } = nodeOf(() => 'again');
    const pages = pagesOf(client, 'key.list', { input: {} });
    await expect(itemsOf(pages, ({ keys }) => keys)).rejects.toThrow('does not end');
    expect(asked).toHaveLength(2);
    const many = Array.from({ length: 100_000 }, () => 1);
    const endless = async function* endless() {
      for (;;) yield many;
    };
    await expect(itemsOf(endless(), (page) => page)).rejects.toThrow('does not end');
  });
});
