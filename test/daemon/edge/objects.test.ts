import { describe, expect, it } from 'vitest';

import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { KAI, openEdge } from './edge-desk.ts';

const END = '0'.repeat(26);

describe('an object of a transfer', () => {
  it('is recorded under its own name, and what another began is not there', async () => {
    const desk = await openEdge(
      {
        'source.open': async (_, call) => {
          call.announce(END);
          return { endId: END, platform: 'linux', roots: [], failures: [] };
        },
      },
      { owners: { record: () => undefined, keep: async () => undefined, maySee: () => false } },
    );
    await desk.ask({ method: 'POST', path: '/transfer/sources', key: 'owner', body: { paths: ['x'] } });
    expect(desk.recorded[0]).toMatchObject({ operation: 'source.open', endId: END });
    expect(desk.recorded[0]).not.toHaveProperty('jobId');
    for (const [method, path] of [
      ['GET', `/transfers/${END}?peer=kai`],
      ['DELETE', `/transfer/ends/${END}?peer=kai`],
    ] as const) {
      const answer = await desk.ask({ method, path, key: 'far' });
      expect(JSON.parse(answer.text)).toMatchObject({
        error: { name: 'transfer_not_found', message: `no transfer ${END} was started by this caller` },
      });
    }
  });

  it('is found on its peer by its id alone, unless this node has one of that id', async () => {
    const forwarded: string[] = [];
    const desk = await openEdge(
      {},
      {
        owners: { record: () => undefined, keep: async () => undefined, maySee: () => true },
      },
    );
    Object.assign(desk.parts.forwarder, {
      locate: (id: string) => (id === END ? KAI : undefined),
      json: async ({ target }: { target: { name: string } }) => {
        forwarded.push(target.name);
        return { status: 200, body: '{}', object: undefined };
      },
    });
    expect((await desk.ask({ path: `/transfers/${END}`, key: 'owner' })).status).toBe(200);
    expect(forwarded).toEqual(['kai']);
    expect((await desk.ask({ path: `/transfers/${END}`, key: 'full' })).outcome).toBe('scope_missing');
  });

  it('is followed by events that are passed on as they are', async () => {
    const events = [{ type: 'started' }, { type: 'end' }];
    const desk = await openEdge({
      'transfer.follow': async (): Promise<StreamSource> => {
        const left = events.map((event) => ({
          type: FRAME.event,
          bytes: Buffer.from(JSON.stringify(event)),
          cursor: 0,
        }));
        return { next: async () => left.shift(), close: () => undefined };
      },
    });
    const { text, headers } = await desk.ask({ path: `/transfers/${END}/events`, key: 'owner' });
    expect(headers['content-type']).toContain('text/event-stream');
    expect([...text.matchAll(/data: (.*)\n/g)].map(([, data = '']) => JSON.parse(data))).toEqual(events);
  });

  it('moves in steps that push nothing out of what may be repeated', async () => {
    const desk = await openEdge({
      'target.write': async (_, { body }) => {
        for await (const _chunk of body ?? []);
        return {};
      },
    });
    const claims: string[] = [];
    const { effects } = desk.parts;
    const claim = effects.claim.bind(effects);
    effects.claim = (key, digest) => {
      claims.push(key);
      claim(key, digest);
    };
    const headers = { 'loopsy-request-id': 'ab'.repeat(16) };
    const step = { method: 'POST', path: `/transfer/targets/${END}?step=batch`, key: 'owner', body: 'x', headers };
    expect((await desk.ask(step)).status).toBe(200);
    expect(claims).toEqual([]);
  });
});
