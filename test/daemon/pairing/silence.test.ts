import { afterEach, describe, expect, it } from 'vitest';

import type { Clock } from '../../../src/kernel/clock.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { Gate } from '../../helpers/gate.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { verifies } from '../../requirements.ts';
import { Person } from './two-nodes.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const nodes: InProcessNode[] = [];
const gates: Gate[] = [];

/** Two people, and the gate on the joiner's way to the host. */
const two = async (clock?: Clock): Promise<[host: Person, joiner: Person, gate: Gate]> => {
  const time = clock === undefined ? {} : { clock };
  const [maria, kai] = [await startNode({ name: 'maria', ...time }), await startNode({ name: 'kai', ...time })];
  nodes.push(maria, kai);
  const gate = await Gate.open(maria.port);
  gates.push(gate);
  return [new Person(maria, 'host'), new Person(kai, 'joiner'), gate];
};

afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close();
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

const nothingTrusted = async (...people: readonly Person[]): Promise<void> => {
  for (const person of people) expect(await person.peers()).toEqual([]);
};

const late = (who: string) => ({
  state: 'failed',
  error: 'pair_expired',
  reason: `${who} in time: nothing was trusted`,
  hint: expect.any(String),
});

describe('the other side closes the lid', () => {
  it(verifies('pair.silence', 'before the number: the host says so after 10 s, and can begin anew'), async () => {
    const clock = new FakeClock(Date.now());
    const [host, joiner, gate] = await two(clock);
    const held = gate.hold((connection, part) => connection === 3 && part === 'request');
    await joiner.join(await host.start(), gate.port);
    await held;
    expect((await host.look()).state).toBe('exchanging');
    clock.advance(10_000);
    expect(await host.look()).toMatchObject({
      state: 'failed',
      error: 'peer_handshake',
      reason: 'the joiner knew the code, and then fell silent',
      hint: expect.stringContaining('run `loopsy pair` again'),
    });
    await nothingTrusted(host, joiner);
    expect(await host.start()).toMatch(/^\d{6}$/);
  });

  it.each(['nobody', 'the host', 'the joiner'])(
    verifies('pair.silence', 'with the number on both screens, where %s said yes: both are told in time'),
    async (who) => {
      const clock = new FakeClock(Date.now());
      const [host, joiner, gate] = await two(clock);
      await joiner.join(await host.start(), gate.port);
      await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
      void gate.hold(() => true);
      const said = [host, joiner].filter(({ role }) => who.endsWith(role));
      const silent = [host, joiner].filter((person) => !said.includes(person));
      for (const person of said) await person.confirm();
      clock.advance(300_001);
      for (const person of silent) expect(await person.look()).toMatchObject(late('nobody said yes'));
      for (const person of said) expect((await person.look()).state).toBe('waiting-peer');
      // The day of a yes is one of the wall clock, which is looked at every 30 s.
      clock.jump(86_400_000);
      clock.advance(30_000);
      for (const person of said) {
        const name = person === host ? 'kai' : 'maria';
        expect(await person.until(({ active }) => !active)).toMatchObject(late(`${name} did not say yes`));
      }
      await nothingTrusted(host, joiner);
    },
  );

  it(
    'while the joiner’s proof is answered: it asks three times, and both are told',
    { timeout: 50_000 },
    async ({ skip }) => {
      if (!LONG) skip('takes 30 s: in test:long');
      const [host, joiner, gate] = await two();
      void gate.hold((connection, part) => connection >= 2 && part === 'reply');
      await joiner.join(await host.start(), gate.port);
      expect(await host.until(({ active }) => !active, 15_000)).toMatchObject({
        reason: 'the joiner knew the code, and then fell silent',
      });
      const { reason } = await joiner.until(({ active }) => !active, 40_000);
      expect(reason).toMatch(/^the connection to 127\.0\.0\.1:\d+ was cut, or it did not answer in time$/);
      expect(gate.connections).toBe(4);
      await nothingTrusted(host, joiner);
    },
  );
});
