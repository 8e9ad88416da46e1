import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { peerHandlers } from '../../src/daemon/peers/handlers.ts';
import { auditListSchema } from '../../src/protocol/audit.ts';
import { keyListSchema } from '../../src/protocol/keys.ts';
import { peerListSchema, type Peer } from '../../src/protocol/peers.ts';
import { type InProcessNode, startNode } from '../helpers/in-process-node.ts';
import { verifies } from '../requirements.ts';

const MiB = 1_048_576;
const KEYS = 1_200;
const RECORDS = 1_500;

const nameOf = (at: number): string => `key-${String(at).padStart(4, '0')}`;
const keyOf = (at: number): string => at.toString(16).padStart(64, '0');

let node: InProcessNode;

beforeAll(async () => {
  const allowedKeys = Object.fromEntries(Array.from({ length: KEYS }, (_, at) => [nameOf(at), keyOf(at + 1)]));
  node = await startNode({ config: { auth: { apiKey: 'f'.repeat(64), allowedKeys } } });
  const record = (at: number): object => ({
    timestamp: 1_800_000_000_000 + at, requestId: `old-${at}`, caller: 'peer:abc', fromIp: '10.0.0.7', operation: 'job.execute', method: 'POST',
    path: '/api/v1/execute', decision: 'allowed', statusCode: 200, duration: 1, command: 'ä"'.repeat(1500),
  }); // prettier-ignore
  const lines = Array.from({ length: RECORDS }, (_, at) => `${JSON.stringify(record(at))}\n`);
  // Nobody has asked for anything yet: the node's first line goes behind these.
  await mkdir(dirname(node.paths.auditLog), { recursive: true, mode: 0o700 });
  await writeFile(node.paths.auditLog, lines.join(''), { mode: 0o600 });
});

afterAll(() => node.remove());

/** Asks for all pages; each answer is within its bounds. */
const pagesOf = async <Page extends { nextCursor?: string | undefined }>(
  path: string,
  schema: { parse: (value: unknown) => Page },
): Promise<Page[]> => {
  const pages: Page[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const more: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const { status, text } = await node.ask({ path: `${path}?limit=1000${more}`, key: node.tokens.start });
    expect(status).toBe(200);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4 * MiB);
    const page = schema.parse(JSON.parse(text));
    pages.push(page);
    cursor = page.nextCursor;
  }
  return pages;
};

describe('lists', () => {
  it(verifies('rest.lists', 'of keys hold at most 1,000, the agents first, then by name'), async () => {
    const pages = await pagesOf('/keys', keyListSchema);
    expect(pages.map(({ keys }) => keys.length)).toEqual([1000, 201]);
    const names = pages.flatMap(({ keys }) => keys.map(({ name }) => name));
    expect(names).toEqual(['agent', ...Array.from({ length: KEYS }, (_, at) => nameOf(at))]);
  });

  it(verifies('rest.lists', 'of audit records hold at most 4 MiB, newest first, and no record twice'), async () => {
    const pages = await pagesOf('/audit', auditListSchema);
    const old = pages.flatMap(({ records }) => records).filter(({ requestId }) => requestId.startsWith('old-'));
    expect(old.map(({ requestId }) => requestId)).toEqual(
      Array.from({ length: RECORDS }, (_, at) => `old-${RECORDS - 1 - at}`),
    );
    for (const { records } of pages.slice(0, -1)) {
      expect(Buffer.byteLength(JSON.stringify(records))).toBeGreaterThan(4 * MiB - 20_000);
    }
  });

  it(verifies('rest.lists', 'of peers hold at most 1,000: trusted ones by name, then other addresses'), async () => {
    const row = (name: string, trusted: boolean): Peer => ({
      name, address: '10.0.0.7', port: 19532, capabilities: [], status: 'unknown', trusted, manuallyAdded: !trusted,
    }); // prettier-ignore
    const trusted = Array.from({ length: 1100 }, (_, at) => row(nameOf(at), true));
    const others = [row('aaa', false), { ...row('aaa', false), port: 19533 }];
    // All that a list needs of the service.
    const handlers = peerHandlers({ registry: { list: () => [...others, ...trusted] } } as never);
    const list = async (input: object): Promise<ReturnType<typeof peerListSchema.parse>> =>
      peerListSchema.parse(await handlers['peer.list'](input, undefined as never));
    const first = await list({});
    const second = await list({ cursor: first.nextCursor });
    expect(first.peers).toHaveLength(1000);
    expect([...first.peers, ...second.peers]).toEqual([...trusted, ...others]);
    expect(second.nextCursor).toBeUndefined();
    expect((await list({ limit: 3, cursor: first.nextCursor })).peers).toEqual(trusted.slice(1000, 1003));
  });

  it('refuse a limit out of bounds and a cursor that is none, and name the field', async () => {
    for (const [path, field] of [
      ['/peers?limit=1001', 'limit'],
      ['/keys?limit=0', 'limit'],
      ['/audit?cursor=newest', 'cursor'],
      [`/keys?cursor=${'x'.repeat(2000)}`, 'cursor'],
    ] as const) {
      const { status, text } = await node.ask({ path, key: node.tokens.start });
      expect([status, JSON.parse(text)]).toMatchObject([400, { error: { details: { field } } }]);
    }
  });
});
