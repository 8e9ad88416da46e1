import { describe, expect, it } from 'vitest';

import type { CarriedMessage } from '../../../src/protocol/messages.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { timeId } from '../../../src/kernel/ids.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { verifies } from '../../requirements.ts';
import { agent, callBy, type Desk, OWNER, peer, settle, twoDesks } from './desk.ts';

const FREE = { perMinute: 100_000, loopGuard: false };
const TEXT = 'x'.repeat(1000);

const EPOCH = 'e'.repeat(32);
const carried = (id: string, more: Partial<CarriedMessage> = {}): CarriedMessage => ({
  id,
  ts: 1,
  type: 'chat',
  body: 'x',
  hops: 0,
  ageMs: 0,
  leftMs: 60_000,
  ...more,
});
const ids = (desk: Desk): string[] => desk.waiting().map(({ id }) => id);

describe('the order of what is accepted', () => {
  it(
    verifies('message.order', 'is that of the disk, where a reply has to be tried again and others pass it'),
    async () => {
      const { kai, maria } = await twoDesks(FREE);
      for (let round = 0; round < 20; round += 1) {
        const question = await maria.send('kai', 'how is it?');
        await settle();
        let others: Promise<unknown>[] = [];
        kai.fault = (point) => {
          if (point !== 'before commit' || others.length > 0) return;
          others = [Promise.resolve()];
          // Between what the reply has read and its commit: it has to be tried again, behind these.
          others.push(kai.messages.ack({ id: question }, callBy(OWNER)), kai.send('maria', 'one more'));
        };
        const reply = await kai.send(undefined, 'well', { replyTo: question });
        kai.fault = () => undefined;
        await Promise.all(others);
        await settle();
        expect(kai.state(reply)).toBe('delivered');
        expect(ids(maria)).toContain(reply);
      }
      expect(ids(maria)).toHaveLength(40);
    },
  );

  it('is that of the disk, where one needs room to be made and others do not', async () => {
    const { kai, maria } = await twoDesks({ ...FREE, maxBytes: 40_000 });
    for (let at = 0; at < 40; at += 1) {
      await kai.send('maria', 'x'.repeat(300));
      await settle();
      for (const id of ids(maria)) await maria.take(id);
      await settle();
    }
    maria.settings = { ...maria.settings, maxBytes: 1_000_000 };
    const sent = await Promise.all([
      kai.send('maria', 'x'.repeat(9000)),
      ...['a', 'b', 'c'].map((b) => kai.send('maria', b)),
    ]);
    await settle();
    expect(sent.map((id) => kai.state(id))).toEqual(sent.map(() => 'delivered'));
    expect(ids(maria).sort()).toEqual([...sent].sort());
  });
});

describe('a node says that a message lies with it', () => {
  it('only where it does: one that comes behind newer ones is refused, not swallowed', async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    const [first, second, third] = [0, 1, 2].map(() => timeId(clock)) as [string, string, string];
    const deliver = async (...messages: CarriedMessage[]) =>
      (await maria.messages.deliver({ epoch: EPOCH, messages }, callBy(peer(kai.nodeId)))).results;
    expect(await deliver(carried(first), carried(third))).toEqual([{ id: first }, { id: third }]);
    expect(await deliver(carried(second))).toEqual([
      { id: second, refused: { error: 'conflict', message: 'newer messages had been handed over before it' } },
    ]);
    const [twice] = [timeId(clock)];
    expect(await deliver(carried(twice), carried(twice))).toEqual([{ id: twice }, { id: twice }]);
    await maria.take(twice);
    // A repeat is known as long as its sender may not know what became of it.
    maria.way.online = false;
    await maria.take(first);
    expect(await deliver(carried(first), carried(third))).toEqual([{ id: first }, { id: third }]);
    maria.settings = { ...maria.settings, maxBytes: 1 };
    expect(await deliver(carried(timeId(clock)))).toMatchObject([{ refused: { error: 'mailbox_full' } }]);
    expect(() => maria.messages.show({ id: first }, callBy(OWNER))).toThrow(LoopsyError);
    expect(await deliver(carried(first))).toEqual([{ id: first }]);
  });

  it('is asked again where it answers for some alone, and believed in nothing that is no answer', async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    kai.answers = (answer) => ({ ...(answer as object), results: [] });
    const id = await kai.send('maria', 'hello');
    await settle();
    expect(kai.state(id)).toBe('queued');
    kai.answers = (answer) => answer;
    clock.advance(300);
    await settle();
    expect([kai.state(id), ids(maria)]).toEqual(['delivered', [id]]);
  });

  it('and what it says beside that is cut, and is not of a time to come', async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    kai.answers = (answer) => ({
      ...(answer as object),
      results: (answer as { results: { id: string }[] }).results.map(({ id }) => ({
        id,
        refused: { error: 'conflict', message: 'x'.repeat(100_000) },
      })),
    });
    const id = await kai.send('maria', 'hello');
    await settle();
    const last = kai.messages.show({ id }, callBy(OWNER)).history.at(-1);
    expect(last?.state).toBe('refused');
    expect(last?.note?.length).toBe(1000);
    kai.answers = (answer) => answer;
    const next = await kai.send('maria', 'hello');
    await settle();
    for (const at of [0, clock.now() + 1e9]) {
      const receipts = [{ kind: 'state', id: next, state: at === 0 ? 'read' : 'acked', at } as const];
      await kai.messages.receive({ receipts }, callBy(peer(maria.nodeId)));
    }
    const { history } = kai.messages.show({ id: next }, callBy(OWNER));
    expect(history.map(({ at }) => at)).toEqual(history.map(() => clock.now()));
  });

  it('and takes no state back that it says in the same breath', async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    const id = await kai.send('maria', 'hello');
    await settle();
    const receipts = (['acked', 'read'] as const).map(
      (state) => ({ kind: 'state', id, state, at: clock.now() }) as const,
    );
    await kai.messages.receive({ receipts }, callBy(peer(maria.nodeId)));
    expect(kai.state(id)).toBe('acked');
    expect(kai.events.flatMap((event) => (event.type === 'message.state' ? [event.message.state] : []))).toEqual([
      'queued',
      'delivered',
      'acked',
    ]);
  });

  it('and what it does not understand is all that is given up', async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    kai.way.online = false;
    const sent = await Promise.all(['a', 'b', 'strange', 'c', 'd'].map((body) => kai.send('maria', body)));
    kai.way.before = (what) => {
      if (JSON.stringify(what).includes('strange'))
        throw new LoopsyError('invalid_request', { message: 'what is this?' });
    };
    kai.way.online = true;
    for (let round = 0; round < 10; round += 1) {
      kai.messages.contact(maria.nodeId);
      clock.advance(60_000);
      await settle();
    }
    expect(sent.map((id) => kai.state(id))).toEqual(['delivered', 'delivered', 'refused', 'delivered', 'delivered']);
    expect(kai.messages.show({ id: sent[2] ?? '' }, callBy(OWNER)).history.at(-1)?.note).toContain('what is this?');
  });
});

describe('a reply', () => {
  it(verifies('message.threads', 'that never arrives leaves its message read on both sides, and no more'), async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    const [one, other] = [await kai.send('maria', 'a?'), await kai.send('maria', 'b?')];
    await settle();
    maria.way.online = false;
    const taken = await maria.send(undefined, 'yes', { replyTo: one });
    await maria.messages.cancel({ id: taken }, callBy(OWNER));
    await maria.send(undefined, 'yes', { replyTo: other, ttl: 1 });
    clock.advance(2000);
    await settle();
    maria.way.online = true;
    maria.messages.contact(kai.nodeId);
    await settle();
    for (const id of [one, other]) {
      expect(maria.state(id)).toBe('read');
      expect(kai.state(id)).toBe('read');
    }
  });

  it('to somebody else says that its message was read', async () => {
    const { kai, maria } = await twoDesks(FREE);
    const id = await kai.send('maria', 'a?');
    await settle();
    await maria.send('#codex', 'look at this', { replyTo: id });
    await settle();
    expect([maria.state(id), kai.state(id)]).toEqual(['read', 'read']);
  });

  it('to oneself answers at once', async () => {
    const { kai } = await twoDesks(FREE);
    const id = await kai.send('#codex', 'a?', {}, agent('claude'));
    const reply = await kai.send(undefined, 'b', { replyTo: id }, agent('codex'));
    expect([kai.state(id), kai.messages.show({ id }, callBy(agent('codex'))).state]).toEqual(['replied', 'replied']);
    expect(kai.state(reply)).toBe('delivered');
  });
});

describe('room in a box', () => {
  const session = (machineId: string, letter: string): Caller => ({
    kind: 'peer',
    machineId,
    nodeId: letter.repeat(32),
    grant: grantOfLevel('full'),
  });

  it(verifies('message.full', 'is not had twice by mail to oneself, and is made of what was read there'), async () => {
    const { kai } = await twoDesks({ ...FREE, maxBytes: 20_000 });
    for (let round = 0; round < 30; round += 1) {
      const id = await kai.send('#me', TEXT);
      await kai.take(id, OWNER, 'me');
      expect(kai.store.usage('mail/in/').bytes).toBeLessThanOrEqual(20_000);
    }
    const sent = Array.from({ length: 30 }, () => kai.send('#nobody', TEXT));
    const outcomes = await Promise.allSettled(sent);
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(10);
    expect(kai.store.usage('mail/in/').bytes).toBeLessThanOrEqual(20_000);
  });

  it('is made of what anybody sent and somebody has read', async () => {
    const { kai, maria, clock } = await twoDesks({ ...FREE, maxBytes: 20_000 });
    const deliver = (caller: Caller) =>
      maria.messages.deliver({ epoch: EPOCH, messages: [carried(timeId(clock), { body: TEXT })] }, callBy(caller));
    for (const letter of ['p', 'q', 'r'])
      for (let at = 0; at < 8; at += 1) {
        const { results } = await deliver(session(letter.repeat(32), letter));
        expect(results[0]?.refused).toBeUndefined();
        await maria.take(results[0]?.id ?? '');
      }
    const { results } = await deliver(peer(kai.nodeId));
    expect(results[0]?.refused).toBeUndefined();
    expect(maria.store.usage('mail/in/').bytes).toBeLessThanOrEqual(20_000);
  });

  it('is shared by all nodes of one machine, and so is what is known of them', async () => {
    const { maria, clock } = await twoDesks({ ...FREE, maxBytes: 20_000 });
    const outcomes = [];
    for (const letter of ['p', 'q', 'r', 's'])
      for (let at = 0; at < 6; at += 1) {
        const messages = [carried(timeId(clock), { body: TEXT })];
        const call = callBy(session('m'.repeat(32), letter));
        outcomes.push((await maria.messages.deliver({ epoch: EPOCH, messages }, call)).results[0]);
      }
    expect(outcomes.filter((result) => result?.refused === undefined).length).toBeLessThan(10);
    expect(outcomes.find((result) => result?.refused !== undefined)?.refused?.message).toContain('one machine');
    expect(maria.store.usage(`mail/from/${'m'.repeat(32)}`).entries).toBe(4);
    clock.advance(8 * 86_400_000);
    await settle();
    expect(maria.store.list({ prefix: 'mail/from/', limit: 10 })).toEqual([]);
  });

  it('of an outbox is made of the texts that other nodes have, whose states are known all the same', async () => {
    const { kai, maria } = await twoDesks({ ...FREE, maxBytes: 10_000 });
    maria.settings = { ...maria.settings, maxBytes: 1_000_000 };
    const sent: string[] = [];
    for (let at = 0; at < 8; at += 1) {
      sent.push(await kai.send('maria', TEXT));
      await settle();
    }
    const [first = ''] = sent;
    const cut = kai.messages.show({ id: first }, callBy(OWNER));
    expect([cut.body, cut.bodyGone, cut.state]).toEqual(['', true, 'delivered']);
    expect(maria.waiting().map(({ body }) => body)).toEqual(sent.map(() => TEXT));
    await maria.take(first);
    await settle();
    expect(kai.state(first)).toBe('read');
  });

  it('of an outbox is left to others where much waits for one', async () => {
    const { kai } = await twoDesks({ ...FREE, maxBytes: 20_000 });
    kai.way.online = false;
    const waiting = await Promise.allSettled(Array.from({ length: 20 }, () => kai.send('maria', TEXT)));
    expect(waiting.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(8);
    await kai.send('#me', TEXT);
  });
});

describe('guards of two nodes', () => {
  it(verifies('message.guards', 'count the same, wherever the clocks are set'), async () => {
    const { kai, maria, clock } = await twoDesks({ loopGuard: false });
    const start = clock.now();
    const refusals = async (count: number, { everyMs, ts }: { everyMs: number; ts: number }) => {
      const at = { now: () => start + 1e6 + made };
      let made = 0;
      const messages = Array.from({ length: count }, (_, n) => {
        made = n * everyMs;
        return carried(timeId(at), { ts, ageMs: (count - n) * everyMs, fromAgent: `a${everyMs}` });
      });
      const epoch = String(everyMs).padStart(32, '0');
      const refused = [];
      for (let from = 0; from < count; from += 100) {
        const batch = { epoch, messages: messages.slice(from, from + 100) };
        const { results } = await maria.messages.deliver(batch, callBy(peer(kai.nodeId)));
        refused.push(...results.filter((result) => result.refused !== undefined));
      }
      return refused.length;
    };
    // A clock a day behind, one twenty minutes ahead, and one that says 1970.
    expect(await refusals(300, { everyMs: 300_000, ts: start - 86_400_000 })).toBe(0);
    expect(await refusals(300, { everyMs: 3000, ts: start + 1_200_000 })).toBe(0);
    expect(await refusals(200, { everyMs: 501, ts: 0 })).toBe(0);
    expect(await refusals(200, { everyMs: 10, ts: 0 })).toBe(80);
  });

  it('tell of a rest a few times a minute, however often the other side says it', async () => {
    const { kai, maria } = await twoDesks();
    for (let at = 0; at < 300; at += 1) {
      const receipts = [{ kind: 'rest', restMs: 1 + at, fromAgent: `a${at}`, toAgent: 'me' } as const];
      await kai.messages.receive({ receipts }, callBy(peer(maria.nodeId)));
    }
    expect(kai.events.filter(({ type }) => type === 'message.rest')).toHaveLength(20);
    expect(kai.log.lines).toHaveLength(20);
  });
});

describe('events', () => {
  it(verifies('message.events', 'tell each state on both nodes'), async () => {
    const { kai, maria, clock } = await twoDesks(FREE);
    const states = (desk: Desk, id: string): string[] =>
      desk.events.flatMap((event) =>
        event.type === 'message.state' && event.message.id === id
          ? [`${event.message.box} ${event.message.state}`]
          : [],
      );
    const asked = await kai.send('maria', 'a?');
    await settle();
    await maria.send(undefined, 'b', { replyTo: asked });
    await settle();
    expect(states(kai, asked)).toEqual(['queued', 'delivered', 'read', 'replied'].map((state) => `outbox ${state}`));
    expect(states(maria, asked)).toEqual(['read', 'replied'].map((state) => `inbox ${state}`));
    const short = await kai.send('maria', 'a?', { ttl: 1 });
    await settle();
    clock.advance(2000);
    await settle();
    expect(states(kai, short)).toEqual(['queued', 'delivered', 'expired'].map((state) => `outbox ${state}`));
    expect(states(maria, short)).toEqual(['inbox expired']);
    const own = await kai.send('#me', 'a?');
    await kai.take(own, OWNER, 'me');
    expect(states(kai, own).sort()).toEqual(['inbox read', 'outbox delivered', 'outbox read']);
    kai.way.online = false;
    const back = await kai.send('maria', 'a?');
    await kai.messages.cancel({ id: back }, callBy(OWNER));
    expect(states(kai, back)).toEqual(['outbox queued', 'outbox cancelled']);
  });
});
