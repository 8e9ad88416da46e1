import { afterEach, describe, expect, it, vi } from 'vitest';

import { Gate, type Holds } from '../../helpers/gate.ts';
import { type InProcessNode, type InProcessOptions, startNode } from '../../helpers/in-process-node.ts';
import { mountSmallDisk, type SmallDisk } from '../../helpers/small-disk.ts';
import { verifies } from '../../requirements.ts';
import { Person } from './two-nodes.ts';

const nodes: InProcessNode[] = [];

const node = async (name: string, options: InProcessOptions = {}): Promise<InProcessNode> => {
  const made = await startNode({ name, ...options });
  nodes.push(made);
  return made;
};

/** The person at a machine, where a code is shown and where one is entered. */
const both = async (name: string) => {
  const made = await node(name);
  return { node: made, host: new Person(made, 'host'), joiner: new Person(made, 'joiner') };
};
type Both = Awaited<ReturnType<typeof both>>;

const compared = async (host: Person, joiner: Person): Promise<void> => {
  expect(await joiner.join(await host.start(), host.node.port)).toBe('allowed');
  const [there, here] = await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
  expect(there.sas).toBe(here.sas);
};

const completed = (...people: readonly Person[]) => Promise.all(people.map((person) => person.reaches('completed')));

const trusts = async (one: Both, other: Both): Promise<boolean> =>
  (await one.host.peers()).some(({ nodeId, trusted }) => nodeId === other.node.identity.nodeId && trusted);

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

const isM4: Holds = (connection, part) => connection === 2 && part === 'reply';
const isDecided = ({ state }: { state: string }): boolean => ['confirm', 'failed'].includes(state);

/** What waits while each joins the other: on the way to the first machine, and to the second. */
const RACES: readonly { readonly name: string; readonly ways: readonly Holds[] }[] = [
  { name: 'both have proved before either knows', ways: [isM4, isM4] },
  { name: 'one has proved before the other asks', ways: [(at, part) => at === 2 && part === 'request'] },
  { name: 'as it comes', ways: [] },
];

describe('two people who each join the other', () => {
  it.each(RACES)(
    verifies(
      'pair.crossed',
      'at the same moment ($name): one of the two pairings goes on, the other says so, and both end paired',
    ),
    async ({ ways }) => {
      const [a, b] = [await both('maria'), await both('kai')];
      const gates = [await Gate.open(a.node.port), await Gate.open(b.node.port)] as const;
      const held = ways.map(async (holds, at) => gates[at]?.hold(holds));
      const codes = [await a.host.start(), await b.host.start()] as const;
      await Promise.all([a.joiner.join(codes[1], gates[1].port), b.joiner.join(codes[0], gates[0].port)]);
      await Promise.all(held);
      if (held.length === 1) await a.joiner.reaches('confirm');
      for (const gate of gates) gate.release();
      const ends = await Promise.all([a, b].map(({ joiner }) => joiner.until(isDecided)));
      expect(ends.map(({ state }) => state).sort()).toEqual(['confirm', 'failed']);
      const [joined, other] = ends[0]?.state === 'confirm' ? [a, b] : [b, a];
      expect(await other.joiner.look()).toMatchObject({ error: 'pair_busy', hint: expect.any(String) });
      await other.host.reaches('confirm');
      await joined.joiner.confirm();
      await other.host.confirm();
      await completed(joined.joiner, other.host);
      expect([await trusts(a, b), await trusts(b, a)]).toEqual([true, true]);
      const { state, reason } = await joined.host.look();
      if (held.length === 2) expect(reason).toBe(CROSSED);
      else expect([state, reason]).toEqual(state === 'waiting' ? ['waiting', undefined] : ['failed', CROSSED]);
      for (const gate of gates) await gate.close();
    },
  );

  it('one after the other, in any order: who showed a code before can enter one now', async () => {
    const [a, b] = [await both('maria'), await both('kai')];
    for (const [{ host }, { joiner }] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      await compared(host, joiner);
      await host.confirm();
      await joiner.confirm();
      await completed(host, joiner);
    }
  });
});

const CROSSED = 'both machines joined each other: the pairing goes on where the code was entered here';

/** Two people, of whom the one who is named has a disk that can be full. */
const withSmallDisk = async (whose: 'host' | 'joiner'): Promise<[SmallDisk, Person, Person] | undefined> => {
  const disk = await mountSmallDisk(4096);
  if (disk === undefined) return undefined;
  const made = async (role: 'host' | 'joiner'): Promise<Person> => {
    if (role === whose) vi.stubEnv('TMPDIR', disk.folder);
    const person = new Person(await node(role === 'host' ? 'maria' : 'kai'), role);
    vi.unstubAllEnvs();
    return person;
  };
  return [disk, await made('host'), await made('joiner')];
};
const NO_DISK = 'needs root to mount a small disk';

describe('a disk that is full', () => {
  it.for(['host', 'joiner'] as const)(
    verifies(
      'pair.full-disk',
      "when the %s's yes is to be kept: it is none, each screen has a text of its own, and with room again it counts",
    ),
    async (whose, { skip }) => {
      const made = await withSmallDisk(whose);
      if (made === undefined) return skip(NO_DISK);
      const [disk, host, joiner] = made;
      const [full, roomy] = whose === 'host' ? [host, joiner] : [joiner, host];
      await compared(host, joiner);
      await roomy.confirm();
      await disk.fill();
      const { outcome, json } = await full.confirm();
      expect([outcome, JSON.stringify(json)]).toEqual([
        'internal',
        expect.stringMatching(/is full.*say yes again while the number/),
      ]);
      expect(await full.look()).toMatchObject({ state: 'confirm', trouble: expect.stringContaining('is full') });
      expect((await roomy.look()).state).toBe('waiting-peer');
      expect([await host.peers(), await joiner.peers()]).toEqual([[], []]);
      await disk.free();
      expect((await full.confirm()).outcome).toBe('allowed');
      await completed(host, joiner);
    },
  );

  it.for(['host', 'joiner'] as const)(
    'when the %s is to trust: its screen says why it waits, and it goes on by itself once there is room',
    async (whose, { skip }) => {
      const made = await withSmallDisk(whose);
      if (made === undefined) return skip(NO_DISK);
      const [disk, host, joiner] = made;
      const [full, roomy] = whose === 'host' ? [host, joiner] : [joiner, host];
      await compared(host, joiner);
      await full.confirm();
      await disk.fill();
      await roomy.confirm();
      await full.until(({ trouble }) => trouble?.includes('is full') === true);
      expect(await full.look()).toMatchObject({ state: 'waiting-peer' });
      expect(await full.peers()).toEqual([]);
      expect((await roomy.look()).state).toBe('waiting-peer');
      await disk.free();
      await completed(host, joiner);
    },
  );

  it("when an invitation's yes is to be kept: both wait, and it counts by itself once there is room", async ({
    skip,
  }) => {
    const made = await withSmallDisk('host');
    if (made === undefined) return skip(NO_DISK);
    const [disk, host, joiner] = made;
    const invitation = await host.start({ invite: true });
    await disk.fill();
    await joiner.join(invitation, host.node.port);
    await joiner.reaches('confirm');
    await joiner.confirm();
    await host.until(({ trouble }) => trouble?.includes('is full') === true);
    expect([await host.peers(), await joiner.peers()]).toEqual([[], []]);
    await disk.free();
    await completed(host, joiner);
  });
});
