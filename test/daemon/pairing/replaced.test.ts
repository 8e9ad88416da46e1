import { afterEach, describe, expect, it } from 'vitest';

import { Gate } from '../../helpers/gate.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { verifies } from '../../requirements.ts';
import { Person } from './two-nodes.ts';

const nodes: InProcessNode[] = [];
const gates: Gate[] = [];

afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close();
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

/** Two people with the number on both screens, and the gate that the joiner's requests pass. */
const compared = async (): Promise<[Person, Person, Gate]> => {
  const [maria, kai] = [await startNode({ name: 'maria' }), await startNode({ name: 'kai' })];
  nodes.push(maria, kai);
  const [host, joiner] = [new Person(maria, 'host'), new Person(kai, 'joiner')];
  const gate = await Gate.open(maria.port);
  gates.push(gate);
  await joiner.join(await host.start(), gate.port);
  await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
  return [host, joiner, gate];
};

const isRequest = (_connection: number, part: string): boolean => part === 'request';

describe('a joiner who gives up while the host may show a number already', () => {
  it('says no: the host shows none without a partner', async () => {
    const [maria, kai] = [await startNode({ name: 'maria' }), await startNode({ name: 'kai' })];
    nodes.push(maria, kai);
    const [host, joiner] = [new Person(maria, 'host'), new Person(kai, 'joiner')];
    const gate = await Gate.open(maria.port);
    gates.push(gate);
    const held = gate.hold((connection, part) => connection === 3 && part === 'reply');
    await joiner.join(await host.start(), gate.port);
    await held;
    await host.reaches('confirm');
    expect((await joiner.confirm({ confirmed: false })).outcome).toBe('allowed');
    expect(await host.reaches('failed')).toMatchObject({ error: 'pair_refused', reason: 'the other side said no' });
    expect(await joiner.look()).toMatchObject({ state: 'failed', reason: 'you said no: nothing was trusted' });
  });
});

describe('a pairing that is waited for', () => {
  it(
    verifies(
      'pair.replaced',
      'ends where a new one with the same machine begins to count: its yes makes no trust later',
    ),
    async () => {
      const [host, joiner, gate] = await compared();
      await host.confirm();
      void gate.hold(isRequest);
      await joiner.confirm();
      await joiner.join(await host.start(), host.node.port);
      await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
      await host.confirm();
      await joiner.confirm();
      await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
      await until(() => gate.open === 0, 5000);
      await joiner.node.owner('DELETE', '/peers/maria');
      gate.release();
      expect(await joiner.peers()).toEqual([]);
    },
  );

  it('is waited for no more once its trust is removed, and asks nobody any more', async () => {
    const [host, joiner, gate] = await compared();
    await host.confirm();
    await joiner.until(() => gate.connections > 4);
    void gate.hold(isRequest);
    await joiner.confirm();
    await joiner.until(({ bothSaidYes }) => bothSaidYes === true);
    await joiner.node.owner('DELETE', '/peers/maria');
    await until(() => gate.open === 0, 5000);
    await joiner.reaches('idle');
  });
});
