import { once } from 'node:events';
import http from 'node:http';

import { describe, expect, it } from 'vitest';

import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import { collectText } from '../../../src/kernel/collect.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { verifies } from '../../requirements.ts';
import { type EdgeDesk, KAI, MARIA, openEdge, OWN_NAME } from './edge-desk.ts';

const END = '0'.repeat(26);

describe('an input that names peers', () => {
  const transfer = { sources: ['a'], dest: 'b' };

  const start = async () => {
    const inputs: unknown[] = [];
    const desk = await openEdge({
      'transfer.start': async (input, call) => {
        inputs.push(input);
        call.announce(END);
        // What it answers is not looked at here.
        return {} as never;
      },
    });
    const ask = (key: string, named: object): ReturnType<EdgeDesk['ask']> =>
      desk.ask({ method: 'POST', path: '/transfers', key, body: { ...transfer, ...named } });
    return { desk, inputs, ask };
  };

  it('reaches its handler with ids; the name of this node itself is left out', async () => {
    const { desk, inputs, ask } = await start();
    expect((await ask('owner', { from: 'kai', to: OWN_NAME })).status).toBe(202);
    expect((await ask('far', { from: MARIA.nodeId, to: 'kai' })).status).toBe(202);
    expect((await ask('full', {})).status).toBe(202);
    expect(inputs).toEqual([
      { ...transfer, from: KAI.nodeId },
      { ...transfer, from: MARIA.nodeId, to: KAI.nodeId },
      transfer,
    ]);
    // People read names.
    expect(desk.recorded.map(({ from, to, transferId }) => [from, to, transferId])).toEqual([
      ['kai', OWN_NAME, END],
      ['maria', 'kai', END],
      [undefined, undefined, END],
    ]);
  });

  it('what only its handler learns stands in its record, and never in the place of what is known of it', async () => {
    const desk = await openEdge({
      'file.list': async (_input, call) => {
        call.note({ found: 7, path: 'y', decision: 'denied' });
        return { path: 'x', files: [] };
      },
    });
    await desk.ask({ method: 'POST', path: '/transfer/list', key: 'owner', body: { path: 'x' } });
    expect(desk.recorded).toMatchObject([
      { found: 7, decision: 'allowed', 'input.path': 'y', 'input.decision': 'denied' },
    ]);
  });

  it(
    verifies('transfer.reach', 'is refused where one of them is beyond the reach of its caller, and nothing begins'),
    async () => {
      const { desk, inputs, ask } = await start();
      expect((await ask('to-kai', { from: 'kai' })).status).toBe(202);
      for (const [key, named] of [
        ['full', { from: 'kai' }],
        ['full', { to: 'kai' }],
        ['to-kai', { to: 'maria' }],
        ['to-kai', { from: 'kai', to: 'maria' }],
      ] as const)
        expect((await ask(key, named)).outcome).toBe('scope_missing');
      expect(inputs).toHaveLength(1);
      expect(desk.recorded.slice(1).map(({ decision }) => decision)).toEqual(
        Array.from({ length: 4 }, () => 'scope_missing'),
      );
    },
  );

  it('tells nobody who may not address all peers which names are known here', async () => {
    const { ask } = await start();
    const [known, unknown] = [await ask('to-kai', { from: 'maria' }), await ask('to-kai', { from: 'nobody' })];
    expect(known.outcome).toBe('scope_missing');
    expect(unknown.text).toBe(known.text);
    for (const key of ['owner', 'far'])
      expect(JSON.parse((await ask(key, { from: 'nobody' })).text)).toMatchObject({
        error: { name: 'peer_not_found', details: { known: ['kai', 'maria'] } },
      });
  });

  it('is refused of a peer, whatever that may here', async () => {
    const { desk } = await start();
    const grant = { level: 'full', scopes: ['files:write'], reach: 'all' } as const;
    const peer: Caller = {
      kind: 'peer',
      machineId: KAI.nodeId,
      nodeId: KAI.nodeId,
      grant: { ...grant, scopes: ['files:write'] },
    };
    desk.callers.set('full', peer);
    expect(
      (await desk.ask({ method: 'POST', path: '/transfers', key: 'full', body: { ...transfer, to: 'maria' } })).outcome,
    ).not.toBe('allowed');
  });

  it(verifies('transfer.reach', 'is decided by what its caller may when its body has come'), async () => {
    const { desk, inputs } = await start();
    const body = JSON.stringify({ ...transfer, from: 'kai' });
    const request = http.request({
      port: desk.port,
      host: '127.0.0.1',
      agent: false,
      method: 'POST',
      path: `${BASE_PATH}/transfers`,
      headers: { authorization: 'Bearer far', 'content-length': body.length },
    });
    const heard = once(request, 'response') as Promise<[http.IncomingMessage]>;
    request.write(body.slice(0, 5));
    await expect.poll(() => desk.parts.open.size).toBe(1);
    desk.callers.set('far', { kind: 'key', name: 'far', grant: { level: 'full', scopes: ['files:write'], reach: [] } });
    request.end(body.slice(5));
    const [answer] = await heard;
    expect(await collectText(answer, 10_000)).toContain('scope_missing');
    expect(inputs).toEqual([]);
  });

  it(verifies('transfer.reach', 'is open to a narrower reach while it goes on, for each of them'), async () => {
    const peers: (readonly string[])[] = [];
    const desk: EdgeDesk = await openEdge({
      'transfer.run': async (): Promise<StreamSource> => {
        desk.parts.open.abortWhere((request) => {
          peers.push(request.peers);
          return false;
        }, 'revoked');
        return { next: async () => undefined, close: () => undefined };
      },
    });
    const body = { ...transfer, from: 'kai', to: 'maria' };
    await desk.ask({
      method: 'POST',
      path: '/transfers/run',
      key: 'far',
      body,
      headers: { accept: 'text/event-stream' },
    });
    expect(peers).toEqual([[KAI.nodeId, MARIA.nodeId]]);
  });
});
