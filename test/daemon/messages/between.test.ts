import { describe, expect, it } from 'vitest';

import { Undelivered } from '../../../src/daemon/messages/courier.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { MAX_BATCH } from '../../../src/protocol/messages.ts';
import { verifies } from '../../requirements.ts';
import { agent, callBy, cut, OWNER, peer, settle, twoDesks } from './desk.ts';

const bodies = (messages: readonly { readonly body: string }[]): string[] => messages.map(({ body }) => body);

describe('a message between two nodes', () => {
  it(verifies('message.states', 'goes through its states, and its sender sees each'), async () => {
    const { kai, maria } = await twoDesks();
    const id = await kai.send('maria', 'hello\0\n\u2028 wörld 👋');
    expect(kai.state(id)).toBe('queued');
    await settle();
    expect(kai.state(id)).toBe('delivered');
    const [there] = maria.waiting();
    expect(there).toMatchObject({
      id,
      from: 'kai',
      to: 'maria',
      body: 'hello\0\n\u2028 wörld 👋',
      state: 'delivered',
      hops: 0,
    });
    expect(maria.messages.unread).toBe(1);
    await maria.take(id);
    expect(maria.messages.unread).toBe(0);
    await settle();
    expect(kai.state(id)).toBe('read');
    await maria.messages.ack({ id, note: 'will do' }, callBy(OWNER));
    await settle();
    const shown = kai.messages.show({ id }, callBy(OWNER));
    expect(shown).toMatchObject({ state: 'acked', reader: 'owner' });
    expect(shown.history.map(({ state, note }) => [state, note])).toEqual([
      ['queued', undefined],
      ['delivered', undefined],
      ['read', undefined],
      ['acked', 'will do'],
    ]);
  });

  it(verifies('message.threads', 'is answered by a reply, which goes back by itself'), async () => {
    const { kai, maria } = await twoDesks();
    const id = await kai.send('maria#codex', 'is it green?', { type: 'request' }, agent('claude'));
    await settle();
    const reply = await maria.send(undefined, 'it is', { replyTo: id }, agent('codex'));
    await settle();
    expect(kai.steps(id)).toEqual(['queued', 'delivered', 'read', 'replied']);
    expect(maria.steps(id)).toEqual(['queued', 'delivered', 'read', 'replied']);
    expect(maria.state(id)).toBe('replied');
    expect(maria.messages.unread).toBe(0);
    expect(kai.messages.show({ id: reply }, callBy(agent('claude')))).toMatchObject({
      from: 'maria#codex',
      to: 'kai#claude',
      type: 'response',
      thread: id,
      replyTo: id,
      hops: 1,
    });
    const { messages } = kai.messages.list({ thread: id }, callBy(agent('claude')));
    expect(messages.map((one) => one.id)).toEqual([reply]);
  });

  it(
    verifies(['message.away', 'message.order'], 'waits while the node is away, and goes when it is back, in order'),
    async () => {
      const { kai, maria } = await twoDesks({ perMinute: 10_000, loopGuard: false });
      kai.way.online = false;
      const sent = [];
      for (let at = 0; at < 500; at += 1) sent.push(await kai.send('maria', `${at}`));
      await settle();
      expect(kai.handed).toEqual([]);
      expect(new Set(sent.map((id) => kai.state(id)))).toEqual(new Set(['queued']));
      kai.way.online = true;
      kai.messages.contact(maria.nodeId);
      await settle();
      expect(bodies([...maria.messages.list({ unread: true, limit: 1000 }, callBy(OWNER)).messages])).toEqual(
        sent.map((_, at) => String(at)),
      );
      expect(new Set(sent.map((id) => kai.state(id)))).toEqual(new Set(['delivered']));
      expect(kai.handed.length).toBe(Math.ceil(500 / MAX_BATCH));
    },
  );

  it(verifies('message.once', 'lies there once, however often its way is cut, and in order'), async () => {
    const { kai, maria, clock } = await twoDesks({ perMinute: 10_000, loopGuard: false });
    let tries = 0;
    kai.way.before = () => {
      tries += 1;
      if (tries % 3 === 1) throw new Undelivered(new Error('no connection'), false);
    };
    kai.way.behind = () => {
      if (tries % 3 === 2) cut();
    };
    const sent: string[] = [];
    for (let at = 0; at < 40; at += 1) {
      sent.push(await kai.send('maria', `${at}`));
      if (at % 7 === 0) await settle();
      if (at % 11 === 0) await kai.restart();
      if (at % 13 === 0) await maria.restart();
      clock.advance(100);
    }
    for (let round = 0; round < 20; round += 1) {
      clock.advance(60_000);
      await settle();
    }
    expect(maria.waiting().map(({ id }) => id)).toEqual(sent);
    expect(new Set(sent.map((id) => kai.state(id)))).toEqual(new Set(['delivered']));
    expect(maria.events.filter(({ type }) => type === 'message.received').length).toBe(40);
  });

  it('is told as delivered, in the end, where that could not be written down at first', async () => {
    const { kai, maria, clock } = await twoDesks({ perMinute: 10_000, loopGuard: false });
    let fails = 3;
    kai.fault = (point) => {
      if (point !== 'before commit' || kai.handed.length === 0) return;
      fails -= 1;
      if (fails >= 0) throw new Error('the disk is away');
    };
    const ids = [await kai.send('maria', 'one'), await kai.send('maria', 'two')];
    for (let round = 0; round < 8; round += 1) {
      await settle();
      clock.advance(5000);
    }
    expect(ids.map((id) => kai.state(id))).toEqual(['delivered', 'delivered']);
    expect(bodies(maria.waiting())).toEqual(['one', 'two']);
    expect(fails).toBeLessThan(0);
  });

  it(verifies('message.durable', 'goes on where a restart found it'), async () => {
    const { kai, maria } = await twoDesks();
    kai.way.online = false;
    const id = await kai.send('maria', 'over a restart');
    await kai.restart();
    expect(kai.state(id)).toBe('queued');
    kai.way.online = true;
    await kai.restart();
    await settle();
    expect(bodies(maria.waiting())).toEqual(['over a restart']);
    await maria.restart();
    maria.way.online = false;
    await maria.take(id);
    await settle();
    expect(kai.state(id)).toBe('delivered');
    maria.way.online = true;
    await maria.restart();
    await settle();
    expect(kai.state(id)).toBe('read');
  });

  it(
    verifies('message.refused', 'is refused where the node no longer lets its sender write, with the reason'),
    async () => {
      const { kai, maria } = await twoDesks();
      kai.way.before = () => {
        throw new LoopsyError('scope_missing', { message: 'maria does not trust this machine' });
      };
      const id = await kai.send('maria', 'hello?');
      await settle();
      const { state, history } = kai.messages.show({ id }, callBy(OWNER));
      expect(state).toBe('refused');
      expect(history.at(-1)?.note).toContain('maria does not trust this machine');
      kai.way.before = () => undefined;
      kai.messages.contact(maria.nodeId);
      await settle();
      expect(maria.waiting()).toEqual([]);
      const dead = kai.messages.list({ box: 'outbox', dead: true }, callBy(OWNER)).messages;
      expect(dead.map((one) => one.id)).toEqual([id]);
    },
  );

  it('is refused where the node is no peer any more, which is said by the name that it had', async () => {
    const { kai, maria } = await twoDesks();
    kai.way.online = false;
    const id = await kai.send('maria', 'hello?');
    await settle();
    kai.way.isGone = true;
    kai.messages.dropped(maria.nodeId);
    await settle();
    const { state, history } = kai.messages.show({ id }, callBy(OWNER));
    expect([state, history.at(-1)?.note]).toEqual(['refused', 'maria is no peer of this node any more']);
  });

  it('is refused to an unknown node, with the known ones', async () => {
    const { kai } = await twoDesks();
    await expect(kai.send('mariah', 'hello')).rejects.toMatchObject({
      error: 'peer_not_found',
      message: expect.stringContaining('known: maria'),
    });
  });

  it(verifies('message.receipts-own', 'is not moved by a receipt of whom it was not sent to'), async () => {
    const { kai, maria } = await twoDesks();
    const here = await kai.send('#claude', 'for here');
    const there = await kai.send('maria', 'for there');
    await settle();
    const receipt = (id: string) => ({ kind: 'state', id, state: 'acked', at: 1 }) as const;
    const from = peer(maria.nodeId);
    await kai.messages.receive({ receipts: [receipt(here), receipt('0'.repeat(26)), receipt(there)] }, callBy(from));
    expect(kai.state(here)).toBe('delivered');
    expect(kai.state(there)).toBe('acked');
    await kai.messages.receive({ receipts: [{ kind: 'state', id: there, state: 'read', at: 2 }] }, callBy(from));
    expect(kai.steps(there)).toEqual(['queued', 'delivered', 'acked']);
  });

  it(verifies('message.identity', 'is from whom its link says, whatever it says itself'), async () => {
    const { kai, maria } = await twoDesks();
    const from = peer(kai.nodeId);
    const id = `${'0'.repeat(25)}1`;
    const message = { id, ts: 1, type: 'chat', body: 'x', hops: 0, ageMs: 0, leftMs: 1000, fromAgent: 'boss' } as const;
    const batch = { epoch: 'e'.repeat(32), messages: [message] };
    await maria.messages.deliver(batch, callBy(from));
    expect(maria.waiting()[0]).toMatchObject({ from: 'kai#boss', fromNodeId: kai.nodeId });
    // Another node can't overwrite it by using its id.
    const other = peer('q'.repeat(32));
    const { results } = await maria.messages.deliver(
      { ...batch, messages: [{ ...message, body: 'forged' }] },
      callBy(other),
    );
    expect(results[0]?.refused?.error).toBe('invalid_request');
    expect(bodies(maria.waiting())).toEqual(['x']);
  });

  it(verifies('message.cancel', 'is taken back while it has surely not left, and not when it may have'), async () => {
    const { kai, maria, clock } = await twoDesks();
    kai.way.online = false;
    const gone = await kai.send('maria', 'oops');
    const cancelled = await kai.messages.cancel({ id: gone }, callBy(OWNER));
    expect(cancelled.state).toBe('cancelled');
    await expect(kai.messages.cancel({ id: gone }, callBy(OWNER))).rejects.toMatchObject({ error: 'conflict' });
    kai.way.online = true;
    kai.way.behind = cut;
    const left = await kai.send('maria', 'left');
    await settle();
    kai.way.online = false;
    await kai.restart();
    await expect(kai.messages.cancel({ id: left }, callBy(OWNER))).rejects.toMatchObject({
      error: 'conflict',
      message: expect.stringContaining('may have begun'),
    });
    kai.way.online = true;
    kai.way.behind = () => undefined;
    clock.advance(60_000);
    await settle();
    expect(kai.state(left)).toBe('delivered');
    expect(bodies(maria.waiting())).toEqual(['left']);
    await expect(kai.messages.cancel({ id: left }, callBy(OWNER))).rejects.toMatchObject({
      error: 'conflict',
      message: expect.stringContaining('delivered'),
    });
  });

  it('is not taken back where it waited, and has been tried since', async () => {
    const { kai, maria } = await twoDesks();
    kai.way.online = false;
    const id = await kai.send('maria', 'late');
    kai.way.online = true;
    kai.way.behind = cut;
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(bodies(maria.waiting())).toEqual(['late']);
    await expect(kai.messages.cancel({ id }, callBy(OWNER))).rejects.toMatchObject({ error: 'conflict' });
  });

  it('is taken back where a try surely got nowhere', async () => {
    const { kai } = await twoDesks();
    kai.way.before = () => {
      throw new Undelivered(new Error('refused'), false);
    };
    const id = await kai.send('maria', 'oops');
    await settle();
    expect((await kai.messages.cancel({ id }, callBy(OWNER))).state).toBe('cancelled');
  });

  it(verifies('message.events', 'is told on the bus, without what it says'), async () => {
    const { kai, maria } = await twoDesks();
    const id = await kai.send('maria', 'a secret');
    await settle();
    await maria.take(id);
    await settle();
    const message = { id, from: 'kai', to: 'maria' };
    const told = (box: string, state: string) => ({ type: 'message.state', message: { ...message, box, state } });
    expect(kai.events).toEqual(['queued', 'delivered', 'read'].map((state) => told('outbox', state)));
    expect(maria.events).toEqual([
      { type: 'message.received', message: { id, from: 'kai', type: 'chat' } },
      told('inbox', 'read'),
    ]);
  });
});
