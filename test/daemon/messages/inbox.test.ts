import { describe, expect, it } from 'vitest';

import { grantOfLevel } from '../../../src/trust/grants.ts';
import { verifies } from '../../requirements.ts';
import { agent, callBy, CI, OWNER, peer, settle, twoDesks } from './desk.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('an inbox', () => {
  it(verifies('message.taken-once', 'hands each message to one reader, once'), async () => {
    const { maria, kai } = await twoDesks();
    const id = await kai.send('maria', 'who takes it?');
    await settle();
    const readers = ['a', 'b', 'c', 'd'].map((label) => agent(label));
    const outcomes = await Promise.allSettled(readers.map((reader) => maria.take(id, reader)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ error: 'message_taken' });
    const winner = readers[outcomes.findIndex(({ status }) => status === 'fulfilled')] ?? OWNER;
    await expect(maria.take(id, winner)).rejects.toMatchObject({ error: 'message_taken' });
    expect(maria.steps(id)).toEqual(['queued', 'delivered', 'read']);
    await expect(maria.messages.ack({ id }, callBy(OWNER))).rejects.toMatchObject({ error: 'message_taken' });
    expect((await maria.messages.ack({ id }, callBy(winner))).state).toBe('acked');
  });

  it(verifies('message.labels', 'keeps what is for a label for that label alone'), async () => {
    const { maria, kai } = await twoDesks();
    const all = await kai.send('maria', 'for whoever');
    const codex = await kai.send('maria#codex', 'for codex');
    const script = await kai.send('maria#script', 'for a script');
    await settle();
    const idsOf = (...reader: Parameters<typeof maria.waiting>): string[] =>
      maria.waiting(...reader).map(({ id }) => id);
    expect(idsOf(OWNER)).toEqual([all]);
    expect(idsOf(agent('codex'))).toEqual([all, codex]);
    expect(idsOf(agent('claude'))).toEqual([all]);
    expect(idsOf(OWNER, 'script')).toEqual([all, script]);
    await expect(maria.take(codex, agent('claude'))).rejects.toMatchObject({ error: 'message_not_found' });
    await expect(maria.take(codex, OWNER)).rejects.toMatchObject({
      error: 'message_taken',
      hint: 'take it with --as codex',
    });
    await expect(maria.take(script, agent('codex'), 'script')).rejects.toMatchObject({ error: 'scope_missing' });
    expect((await maria.take(script, OWNER, 'script')).reader).toBe('script');
    expect(maria.messages.list({}, callBy(OWNER)).messages.map(({ id }) => id)).toEqual([script, codex, all]);
    expect(maria.messages.unread).toBe(2);
    const { addresses } = maria.messages.addresses();
    expect(addresses).toEqual([
      { address: 'maria', status: 'here', unread: 1 },
      { address: 'maria#codex', status: 'here', unread: 1 },
      { address: 'kai', status: 'online' },
    ]);
  });

  it(verifies('message.access', 'is for the owner and for agents; a key may send, and see what it sent'), async () => {
    const { kai } = await twoDesks();
    const id = await kai.send('maria', 'built', {}, CI);
    const own = await kai.send('maria', 'mine');
    await settle();
    const call = callBy(CI);
    for (const run of [
      () => kai.messages.list({}, call),
      () => kai.messages.wait({ timeoutMs: 0 }, call),
      () => kai.messages.read({ id }, call),
      () => kai.messages.ack({ id }, call),
    ])
      await expect((async () => run())()).rejects.toMatchObject({ error: 'scope_missing' });
    expect(kai.messages.list({ box: 'outbox' }, call).messages.map((one) => one.id)).toEqual([id]);
    expect(() => kai.messages.show({ id: own }, call)).toThrow(/there is no message/);
    await expect(kai.send('maria', 'as another', { as: 'claude' }, CI)).rejects.toMatchObject({
      error: 'scope_missing',
    });
    const near = { ...CI, grant: grantOfLevel('collaborate') } as const;
    await expect(kai.send('maria', 'beyond its reach', {}, near)).rejects.toMatchObject({ error: 'scope_missing' });
  });

  it(verifies('message.wait', 'answers a question when something comes, or when its time is over'), async () => {
    const { maria, kai, clock } = await twoDesks();
    const nothing = maria.messages.wait({ timeoutMs: 1000 }, callBy(OWNER));
    await settle();
    clock.advance(1000);
    expect(await nothing).toEqual({ messages: [], more: false });
    const codex = maria.messages.wait({}, callBy(agent('codex')));
    const owner = maria.messages.wait({ from: 'kai#claude' }, callBy(OWNER));
    const id = await kai.send('maria#codex', 'you');
    await settle();
    expect((await codex).messages.map((one) => one.id)).toEqual([id]);
    await kai.send('maria', 'from somebody else');
    await settle();
    const later = await kai.send('maria', 'from claude', { as: 'claude' });
    await settle();
    expect((await owner).messages.map((one) => one.id)).toEqual([later]);
    const stopped = maria.messages.wait({ from: 'maria' }, callBy(OWNER));
    await maria.restart();
    expect((await stopped).messages).toEqual([]);
    const controller = new AbortController();
    const left = maria.messages.wait({ from: 'maria' }, callBy(OWNER, controller.signal));
    controller.abort('client-gone');
    expect((await left).messages).toEqual([]);
  });

  it(
    verifies('message.wait', 'tells a reader that takes nothing each message once, in the order in which they came'),
    async () => {
      const { maria, kai, clock } = await twoDesks({ perMinute: 10_000, loopGuard: false });
      const ask = (after: string, timeoutMs = 0) => maria.messages.wait({ after, timeoutMs, as: 'ci' }, callBy(OWNER));
      for (let at = 0; at < 130; at += 1) await kai.send(at % 2 === 0 ? 'maria' : 'maria#ci', `${at}`);
      await kai.send('maria#codex', 'for another one');
      await settle();
      kai.way.online = false;
      // Made before what comes next, and there behind it.
      const late = await kai.send('maria', 'late');
      await settle();
      const seen: string[] = [];
      let after = '0';
      for (let more = true; more;) {
        const answer = await ask(after);
        expect(answer.messages.length).toBeLessThanOrEqual(100);
        seen.push(...answer.messages.map(({ body }) => body));
        ({ more } = answer);
        after = answer.cursor ?? '';
      }
      expect(seen).toEqual(Array.from({ length: 130 }, (_, at) => `${at}`));
      expect(await ask(after)).toEqual({ messages: [], more: false, cursor: after });
      clock.advance(1);
      const own = await maria.send('#ci', 'newer than that');
      const newest = await ask(after, 20_000);
      expect(newest.messages.map(({ id }) => id)).toEqual([own]);
      const next = ask(newest.cursor ?? '', 20_000);
      kai.way.online = true;
      kai.messages.contact(maria.nodeId);
      await settle();
      expect((await next).messages.map(({ id }) => id)).toEqual([late]);
      expect(late < own).toBe(true);
      // Nothing was taken; and a cursor of another time of this node, whose data was lost since, begins anew.
      expect(maria.messages.unread).toBe(133);
      expect((await ask('9007199254740991')).messages.length).toBe(100);
    },
  );

  it('is known by its labels, however much waits for one of them', async () => {
    const { maria, kai } = await twoDesks({ perMinute: 10_000, loopGuard: false });
    for (let at = 0; at < 1100; at += 1) await kai.send('maria#aa', 'x');
    await kai.send('maria#zz', 'x');
    await kai.send('maria', 'x');
    await settle();
    expect(maria.messages.addresses()).toEqual({
      addresses: [
        { address: 'maria', status: 'here', unread: 1 },
        { address: 'maria#aa', status: 'here', unread: 1100 },
        { address: 'maria#zz', status: 'here', unread: 1 },
        { address: 'kai', status: 'online' },
      ],
    });
    for (let at = 0; at < 200; at += 1) await kai.send(`maria#b${at}`, 'x');
    await settle();
    const { addresses, more } = maria.messages.addresses();
    expect([addresses.length, more]).toEqual([202, true]);
  });

  it('gives agents of one machine what they write to each other, at once', async () => {
    const { kai } = await twoDesks();
    const id = await kai.send('#codex', 'psst', {}, agent('claude'));
    expect(kai.waiting(agent('codex'))).toMatchObject([
      { id, from: 'kai#claude', to: 'kai#codex', state: 'delivered' },
    ]);
    await kai.messages.ack({ id, note: 'ok' }, callBy(agent('codex')));
    expect(kai.messages.show({ id }, callBy(agent('claude')))).toMatchObject({ box: 'outbox', state: 'acked' });
    expect(kai.handed).toEqual([]);
  });
});

describe('the life of a message', () => {
  it(verifies('message.expiry', 'ends in its time where nobody takes it, and its sender hears of it'), async () => {
    const { maria, kai, clock } = await twoDesks();
    const there = await kai.send('maria', 'short', { ttl: 60 });
    await settle();
    kai.way.online = false;
    const here = await kai.send('maria', 'never left', { ttl: 60 });
    clock.advance(59_000);
    await settle();
    expect([kai.state(there), kai.state(here), maria.waiting().length]).toEqual(['delivered', 'queued', 1]);
    clock.advance(3000);
    await settle();
    expect([kai.state(there), kai.state(here)]).toEqual(['expired', 'expired']);
    expect(maria.state(there)).toBe('expired');
    expect(maria.messages.unread).toBe(0);
    await expect(maria.take(there)).rejects.toMatchObject({ error: 'message_expired' });
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(maria.waiting()).toEqual([]);
  });

  it('ends while its node is away, too; what may have arrived is said', async () => {
    const { maria, kai, clock } = await twoDesks();
    kai.way.behind = () => {
      throw new Error('cut');
    };
    const id = await kai.send('maria', 'there or not', { ttl: 60 });
    await settle();
    kai.way.online = false;
    maria.way.online = false;
    await kai.restart();
    await settle();
    clock.advance(61_000);
    await settle();
    const { state, history } = kai.messages.show({ id }, callBy(OWNER));
    expect(state).toBe('expired');
    expect(history.at(-1)?.note).toContain('may have arrived');
    expect(maria.state(id)).toBe('expired');
  });

  it(verifies('message.clock', 'is as long as was asked for, whatever the clock is set to'), async () => {
    const { maria, kai, clock } = await twoDesks();
    kai.way.online = false;
    const waits = await kai.send('maria', 'waits', { ttl: 3600 });
    clock.jump(-DAY_MS);
    const later = await kai.send('maria', 'later', { ttl: 3600 });
    expect(later > waits).toBe(true);
    clock.jump(3 * DAY_MS);
    clock.advance(HOUR_MS - 2000);
    await settle();
    expect([kai.state(waits), kai.state(later)]).toEqual(['queued', 'queued']);
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(maria.waiting().map(({ id }) => id)).toEqual([waits, later]);
    clock.jump(-DAY_MS);
    clock.advance(4000);
    await settle();
    expect([maria.state(waits), maria.state(later)]).toEqual(['expired', 'expired']);
  });

  it('leaves the disk a week after its end', async () => {
    const { maria, kai, clock } = await twoDesks();
    const ids = [await kai.send('maria', 'read', { ttl: 60 }), await kai.send('maria', 'not read', { ttl: 60 })];
    await settle();
    await maria.take(ids[0] ?? '');
    await settle();
    for (let day = 0; day < 8; day += 1) {
      clock.advance(DAY_MS);
      await settle();
    }
    clock.advance(DAY_MS);
    await settle();
    for (const { store } of [maria, kai]) {
      const left = store.list({ prefix: 'mail/', limit: 1000 }).map(({ key }) => key);
      expect(left.filter((key) => !/^mail\/(?:epoch|from\/)/.test(key))).toEqual([]);
    }
  });
});

describe('a full box', () => {
  const body = 'x'.repeat(1000);

  it(verifies('message.full', 'refuses with the reason, and makes room of what has come to its end'), async () => {
    const { maria, kai } = await twoDesks({ perMinute: 10_000, loopGuard: false, maxBytes: 20_000 });
    kai.settings = { ...kai.settings, maxBytes: 1_000_000 };
    const ids: string[] = [];
    for (let at = 0; at < 20; at += 1) {
      ids.push(await kai.send('maria', body).catch(() => ''));
      await settle();
    }
    const states = ids.filter((id) => id !== '').map((id) => kai.messages.show({ id }, callBy(OWNER)));
    const refused = states.filter(({ state }) => state === 'refused');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.history.at(-1)?.note).toContain('half of messages.maxBytes');
    // What lies there unread is untouched.
    const waiting = maria.waiting();
    expect(waiting.length).toBe(states.filter(({ state }) => state === 'delivered').length);
    for (const { id } of waiting.slice(0, 4)) await maria.take(id);
    await settle();
    const next = await kai.send('maria', body);
    await settle();
    expect(kai.state(next)).toBe('delivered');
    expect(maria.waiting().map(({ id }) => id)).toEqual([...waiting.slice(4).map(({ id }) => id), next]);
  });

  it('of the sender refuses what is new, and takes nothing away', async () => {
    const { kai } = await twoDesks({ perMinute: 10_000, loopGuard: false, maxBytes: 10_000 });
    kai.way.online = false;
    const sent = [await kai.send('maria', body), await kai.send('maria', body)];
    await expect(
      (async () => {
        for (;;) sent.push(await kai.send('maria', body));
      })(),
    ).rejects.toMatchObject({ error: 'mailbox_full', message: expect.stringContaining('for one node is full') });
    expect(kai.messages.list({ box: 'outbox', unread: true }, callBy(OWNER)).messages.map(({ id }) => id)).toEqual(
      sent,
    );
    await kai.messages.cancel({ id: sent[0] ?? '' }, callBy(OWNER));
    await kai.send('maria', body);
  });

  it('of one sender leaves room for others', async () => {
    const { maria, kai } = await twoDesks({ perMinute: 10_000, loopGuard: false, maxBytes: 20_000 });
    kai.settings = { ...kai.settings, maxBytes: 1_000_000 };
    for (let at = 0; at < 15; at += 1) await kai.send('maria', body);
    await settle();
    const message = {
      id: `${'0'.repeat(25)}1`,
      ts: 1,
      type: 'chat',
      body: 'x',
      hops: 0,
      ageMs: 0,
      leftMs: 1000,
    } as const;
    const batch = { epoch: 'e'.repeat(32), messages: [message] };
    const { results } = await maria.messages.deliver(batch, callBy(peer('q'.repeat(32))));
    expect(results).toEqual([{ id: message.id }]);
  });

  it('takes no body over 256 KiB', async () => {
    const { maria, kai } = await twoDesks();
    await expect(kai.send('maria', 'ü'.repeat(131_073))).rejects.toMatchObject({ error: 'message_too_large' });
    kai.settings = { ...kai.settings, maxBytes: 10_000_000 };
    maria.settings = { ...maria.settings, maxBytes: 10_000_000 };
    const id = await kai.send('maria', '\u0001'.repeat(262_144));
    await settle();
    expect(kai.state(id)).toBe('delivered');
    expect(maria.waiting()[0]?.body.length).toBe(262_144);
  });
});
