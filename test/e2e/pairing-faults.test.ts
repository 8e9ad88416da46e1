import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Gate, type Holds } from '../helpers/gate.ts';
import { Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { Side } from '../helpers/sides.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';

let host: Side;
let joiner: Side;

beforeAll(async () => {
  const [maria, kai] = await Promise.all([Machine.create('maria'), Machine.create('kai')]);
  host = new Side(maria, 'host');
  joiner = new Side(kai, 'joiner');
}, 60_000);

afterAll(async () => {
  await host?.machine.remove();
  await joiner?.machine.remove();
});

const portOf = async ({ machine }: Side): Promise<number> => (await machine.registration()).port;

const join = async (port: number): Promise<void> =>
  joiner.join({ address: '127.0.0.1', port, code: await host.start() });

const compared = async (port: number): Promise<void> => {
  await join(port);
  await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
};

/** Where somebody strikes: how it gets there, and whether both yes are kept by then. */
interface Point {
  readonly name: string;
  readonly reach: (gate: Gate) => Promise<unknown>;
  readonly bothSaidYes?: true;
}

const onItsWay = (message: string, holds: Holds): Point => ({
  name: `${message} on its way`,
  reach: async (gate) => {
    const held = gate.hold(holds);
    await join(gate.port);
    await held;
  },
});
const step =
  (connection: number, part: 'request' | 'reply'): Holds =>
  (at, what) =>
    at === connection && what === part;

const POINTS: readonly Point[] = [
  onItsWay('M1', step(1, 'request')),
  onItsWay('M2', step(1, 'reply')),
  onItsWay('M3', step(2, 'request')),
  onItsWay('M4', step(2, 'reply')),
  onItsWay('M5', step(3, 'request')),
  onItsWay('M6', step(3, 'reply')),
  { name: 'the number on both screens', reach: (gate) => compared(gate.port) },
  {
    name: "the host's yes kept",
    reach: async (gate) => {
      await compared(gate.port);
      await host.confirm();
    },
  },
  {
    name: "the joiner's yes kept, and not gone out",
    reach: async (gate) => {
      await compared(gate.port);
      void gate.hold((_at, part) => part === 'request');
      await joiner.confirm();
    },
  },
  {
    name: 'both yes kept, and neither knows',
    bothSaidYes: true,
    reach: async (gate) => {
      await compared(gate.port);
      void gate.hold(() => true);
      await Promise.all([host.confirm(), joiner.confirm()]);
    },
  },
  {
    name: 'the host trusts, and the joiner does not know',
    bothSaidYes: true,
    reach: async (gate) => {
      await compared(gate.port);
      void gate.hold((_at, part) => part === 'reply');
      await host.confirm();
      await joiner.confirm();
      await host.until(({ bothSaidYes }) => bothSaidYes === true);
    },
  },
  {
    name: 'the joiner trusts, and the host does not know',
    bothSaidYes: true,
    reach: async (gate) => {
      await compared(gate.port);
      await host.confirm();
      await until(() => gate.connections > 4, 5000);
      void gate.hold((_at, part) => part === 'request');
      await joiner.confirm();
      await joiner.until(({ bothSaidYes }) => bothSaidYes === true);
    },
  },
  {
    name: 'both trust, and the last word is missing',
    bothSaidYes: true,
    reach: async (gate) => {
      await compared(gate.port);
      await until(() => gate.connections === 4, 5000);
      void gate.hold((at, part) => at > 5 && part === 'request');
      await joiner.confirm();
      await host.confirm();
      await joiner.until(({ bothSaidYes }) => bothSaidYes === true);
    },
  },
];

const ALL = POINTS.flatMap((point) =>
  [`host, ${point.name}`, `joiner, ${point.name}`].map((name) => ({ point, name })),
);
const FEW = [
  'host, the number on both screens',
  'joiner, M6 on its way',
  "joiner, the host's yes kept",
  'joiner, both yes kept, and neither knows',
  'joiner, the host trusts, and the joiner does not know',
];
const STRUCK = ALL.filter(({ name }) => LONG || FEW.includes(name));

/** What the person of the other side is told, within the bounds of the protocol. */
const told = async (survivor: Side): Promise<string> => {
  const status = await survivor.until(
    ({ state, trouble }) =>
      state !== 'exchanging' &&
      (survivor.role === 'host' || state === 'failed' || state === 'completed' || trouble !== undefined),
  );
  if (status.state === 'failed') expect([status.reason, status.hint]).toEqual([expect.any(String), expect.any(String)]);
  return `${status.state}: ${status.reason ?? status.trouble ?? '–'}`;
};

const areTrusted = async (): Promise<boolean[]> =>
  Promise.all([host, joiner].map(async (side) => (await side.peers()).some(({ trusted }) => trusted)));

/** A new pairing, with nothing in its way. */
const pairAnew = async (): Promise<void> => {
  for (const side of [host, joiner]) {
    const { active, state } = await side.look();
    if (active && state !== 'waiting-peer') await side.confirm(false);
  }
  await compared(await portOf(host));
  await Promise.all([host.confirm(), joiner.confirm()]);
  await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
};

describe('kill -9 of a node in a pairing', () => {
  const struck = STRUCK.map(({ point, name }) => [name, point] as const);
  it.each(struck)(verifies('pair.killed', `(${STRUCK.length} of ${ALL.length} points) %s`), async (name, point) => {
    const gate = await Gate.open(await portOf(host));
    const [victim, survivor] = name.startsWith('host') ? [host, joiner] : [joiner, host];
    try {
      await point.reach(gate);
      await victim.kill();
      gate.cut();
      const begunAt = performance.now();
      const text = await told(survivor);
      const tookMs = Math.round(performance.now() - begunAt);
      await victim.machine.start();
      if (point.bothSaidYes === true) await until(async () => !(await areTrusted()).includes(false), 12_000);
      else {
        expect(await areTrusted()).toEqual([false, false]);
        await pairAnew();
      }
      expect(await areTrusted()).toEqual([true, true]);
      console.log(`${name}: the ${survivor.role} reads "${text}" after ${tookMs} ms`);
    } finally {
      await gate.close();
      for (const side of [host, joiner]) await side.forget();
    }
  });
});
