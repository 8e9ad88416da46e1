import { describe, expect, it } from 'vitest';

import { Undelivered } from '../../../src/daemon/messages/courier.ts';
import type { MessageState } from '../../../src/protocol/messages.ts';
import { verifies } from '../../requirements.ts';
import { callBy, type Desk, OWNER, settle, twoDesks } from './desk.ts';

const MESSAGES = 4;
const RANK: readonly MessageState[] = ['queued', 'delivered', 'read', 'acked'];

/** What a run was told, and what it saw. */
interface Told {
  readonly accepted: string[];
  readonly taken: string[];
  readonly states: Map<string, number>;
}

/** Sends, takes and acknowledges, as long as both nodes live. */
const talk = async ({ kai, maria }: { kai: Desk; maria: Desk }, told: Told): Promise<void> => {
  const attempt = async (run: () => Promise<void>): Promise<void> => {
    // A dead node answers nothing.
    await Promise.race([run().catch(() => undefined), settle()]);
  };
  for (let at = 0; at < MESSAGES; at += 1) {
    await attempt(async () => void told.accepted.push(await kai.send('maria', `${at}`)));
    await settle();
    look(kai, told);
    for (const { id } of maria.waiting()) {
      await attempt(async () => {
        await maria.take(id);
        told.taken.push(id);
      });
      await attempt(async () => void (await maria.messages.ack({ id }, callBy(OWNER))));
    }
    await settle();
    look(kai, told);
  }
};

/** No state goes back. */
const look = (kai: Desk, { states }: Told): void => {
  for (const { id, state } of kai.messages.list({ box: 'outbox' }, callBy(OWNER)).messages) {
    const rank = RANK.indexOf(state);
    expect(rank, state).toBeGreaterThanOrEqual(states.get(id) ?? 0);
    states.set(id, rank);
  }
};

/** Kills one node at the nth point that it passes. @returns its name; undefined where it passes fewer. */
const runWith = async (victim: 'kai' | 'maria', nth: number): Promise<string | undefined> => {
  const desks = await twoDesks({ loopGuard: false });
  const { clock, kai, maria } = desks;
  const dying = desks[victim];
  const other = victim === 'kai' ? maria : kai;
  let [passed, killedAt] = [0, ''];
  dying.fault = (point) => {
    passed += 1;
    if (passed !== nth) return;
    killedAt = point;
    dying.kill();
  };
  // Whoever asks a dead node gets no answer, and may have been heard.
  other.way.behind = () => {
    if (killedAt !== '') throw new Undelivered(new Error('cut'), true);
  };
  const told: Told = { accepted: [], taken: [], states: new Map() };
  await talk(desks, told);
  if (killedAt === '') return undefined;
  dying.fault = () => undefined;
  other.way.behind = () => undefined;
  await dying.start();
  for (const desk of [kai, maria]) desk.messages.contact(desk === kai ? maria.nodeId : kai.nodeId);
  for (let round = 0; round < 3; round += 1) {
    await settle();
    clock.advance(60_000);
  }
  await talk(desks, told);
  const there = maria.messages.list({ limit: 1000 }, callBy(OWNER)).messages.map(({ id }) => id);
  const where = `${victim}: ${killedAt} (point ${nth})`;
  // Every accepted one, once; what was not accepted may be there.
  for (const id of told.accepted) expect(there.filter((one) => one === id).length, where).toBe(1);
  expect(new Set(there).size, where).toBe(there.length);
  expect(told.taken.length, where).toBe(new Set(told.taken).size);
  expect(maria.waiting().length, where).toBe(0);
  for (const id of told.accepted) expect(['read', 'acked'], where).toContain(kai.state(id));
  return killedAt;
};

describe('a node that dies', () => {
  it.each(['kai', 'maria'] as const)(
    verifies(['message.durable', 'message.once'], 'at any point (%s) loses nothing, and nothing comes twice'),
    async (victim) => {
      const points = new Set<string>();
      for (let nth = 1; ; nth += 1) {
        const point = await runWith(victim, nth);
        if (point === undefined) break;
        points.add(point);
      }
      // Every kind of point was one of death.
      expect([...points].sort()).toEqual(
        victim === 'kai'
          ? ['before commit', 'before message.deliver', 'behind commit', 'behind message.deliver']
          : ['before commit', 'before message.receipts', 'behind commit', 'behind message.receipts'],
      );
    },
  );
});
