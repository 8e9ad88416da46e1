import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { randomFrom, seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const ROUNDS = LONG ? 100 : 4;
const EXTRA = 'rateLimits:\n  context: 1000000\nmessages:\n  perMinute: 1000000\n  loopGuard: false\n';
const KEYS = ['a', 'b', 'c', 'd'];
const RANK = ['queued', 'delivered', 'read', 'acked', 'replied'];

let kai: Machine;
let maria: Machine;

beforeAll(async () => {
  [kai, maria] = [await Machine.create('kai', { extra: EXTRA }), await Machine.create('maria', { extra: EXTRA })];
  await connectMachines(kai, maria);
}, 60_000);

afterAll(async () => {
  await kai?.remove();
  await maria?.remove();
}, 60_000);

/** One request; undefined where the node gave no answer. */
const ask = async (machine: Machine, ...asked: [string, string, unknown?]): Promise<unknown> => {
  try {
    const answer = await machine.fetch(...asked);
    return answer.ok ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
};

/** What was acknowledged, and what was seen. */
class Ledger {
  /** Of each key on each machine: the last value that was acknowledged, and the last that was tried. */
  readonly values = new Map<string, { acknowledged: number; tried: number }>();
  readonly accepted: string[] = [];
  readonly taken: string[] = [];
  /** Replies that maria's node has accepted. */
  readonly replies: string[] = [];
  readonly states = new Map<string, number>();
  ended = false;

  async set(machine: Machine, key: string): Promise<void> {
    const name = `${machine === kai ? 'kai' : 'maria'}/${key}`;
    const known = this.values.get(name) ?? { acknowledged: 0, tried: 0 };
    this.values.set(name, known);
    known.tried += 1;
    const value = known.tried;
    if ((await ask(machine, 'PUT', `/context/${key}`, { value: String(value) })) !== undefined)
      known.acknowledged = value;
  }

  async send(): Promise<void> {
    const sent = (await ask(kai, 'POST', '/messages', { to: 'maria', body: 'x'.repeat(300) })) as
      | { id: string }
      | undefined;
    if (sent !== undefined) this.accepted.push(sent.id);
  }

  async take(): Promise<void> {
    const waiting = (await ask(maria, 'GET', '/messages/wait?timeoutMs=200')) as
      | { messages: { id: string }[] }
      | undefined;
    for (const { id } of waiting?.messages ?? []) {
      if ((await ask(maria, 'POST', `/messages/${id}/read`, {})) === undefined) continue;
      this.taken.push(id);
      // Two that change one message at the same moment: one of them has to be tried again.
      if (this.taken.length % 3 === 0 && !this.ended)
        await Promise.all([ask(maria, 'POST', `/messages/${id}/ack`, {}), this.reply(id), this.reply(id)]);
    }
  }

  async reply(replyTo: string): Promise<void> {
    const sent = (await ask(maria, 'POST', '/messages', { replyTo, body: 'yes' })) as { id: string } | undefined;
    if (sent !== undefined) this.replies.push(sent.id);
  }

  /** No state goes back. */
  async look(): Promise<void> {
    const listed = (await ask(kai, 'GET', '/messages?box=outbox&limit=200')) as
      | { messages: { id: string; state: string }[] }
      | undefined;
    for (const { id, state } of listed?.messages ?? []) {
      const rank = RANK.indexOf(state);
      expect(rank, `${id} is ${state}`).toBeGreaterThanOrEqual(this.states.get(id) ?? 0);
      this.states.set(id, rank);
    }
  }

  /** Repeats until the end; a node that is away is asked again. */
  async loop(run: () => Promise<void>): Promise<void> {
    while (!this.ended) {
      await run();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

const allIn = async (machine: Machine, box: string): Promise<{ id: string; state: string }[]> => {
  const rows: { id: string; state: string }[] = [];
  for (let cursor = ''; ;) {
    const page = (await ask(machine, 'GET', `/messages?box=${box}&limit=1000${cursor}`)) as {
      messages: { id: string; state: string }[];
      nextCursor?: string;
    };
    rows.push(...page.messages);
    if (page.nextCursor === undefined) return rows;
    cursor = `&cursor=${page.nextCursor}`;
  }
};

describe(`kill -9 of either node at ${ROUNDS} random moments under load${LONG ? '' : ' (100 in test:long)'}`, () => {
  it(
    verifies('message.kill', 'every acknowledged write is there, every message comes once, no state goes back'),
    { timeout: 1_800_000 },
    async () => {
      const random = randomFrom(seedOfRun('mail kill'));
      const ledger = new Ledger();
      const load = [
        ...KEYS.flatMap((key) => [kai, maria].map((machine) => ledger.loop(() => ledger.set(machine, key)))),
        ...[0, 1, 2].map(() => ledger.loop(() => ledger.send())),
        ledger.loop(() => ledger.take()),
        ledger.loop(() => ledger.look()),
      ];
      for (let round = 0; round < ROUNDS; round += 1) {
        const victim = random() < 0.5 ? kai : maria;
        const { pid } = await victim.registration();
        await new Promise((resolve) => setTimeout(resolve, 50 + random() * 700));
        process.kill(pid, 'SIGKILL');
        await victim.start();
      }
      ledger.ended = true;
      await Promise.all(load);
      for (const [name, { acknowledged, tried }] of ledger.values) {
        const [machine, key = ''] = name.split('/');
        const entry = (await ask(machine === 'kai' ? kai : maria, 'GET', `/context/${key}`)) as { value: string };
        expect(Number(entry.value), name).toBeGreaterThanOrEqual(acknowledged);
        expect(Number(entry.value), name).toBeLessThanOrEqual(tried);
      }
      const left = async (): Promise<number> => {
        await ledger.take();
        const rows = await allIn(kai, 'outbox');
        return rows.filter(({ state }) => state === 'queued' || state === 'delivered').length;
      };
      await until(async () => (await left()) === 0, 60_000);
      const back = async (): Promise<string[]> => (await allIn(kai, 'inbox')).map(({ id }) => id);
      await until(async () => {
        const there = new Set(await back());
        return ledger.replies.every((id) => there.has(id));
      }, 60_000);
      expect((await back()).length).toBe(new Set(await back()).size);
      expect((await allIn(maria, 'outbox')).filter(({ state }) => state === 'queued')).toEqual([]);
      const there = (await allIn(maria, 'inbox')).map(({ id }) => id);
      expect(there.length).toBe(new Set(there).size);
      expect(ledger.accepted.filter((id) => !there.includes(id))).toEqual([]);
      expect(ledger.taken.length).toBe(new Set(ledger.taken).size);
      // That there was a load at all: how much depends on what else this machine does.
      expect(ledger.accepted.length).toBeGreaterThan(5 * ROUNDS);
      console.log(
        `kills ${ROUNDS}: ${ledger.accepted.length} messages accepted, ${there.length} there, ${ledger.taken.length} taken`,
      );
    },
  );
});
