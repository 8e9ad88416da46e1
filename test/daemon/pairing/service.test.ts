import { afterEach, describe, expect, it } from 'vitest';

import { FakeClock } from '../../helpers/clock.ts';
import { type InProcessNode, type InProcessOptions, startNode } from '../../helpers/in-process-node.ts';
import { otherCode, Person } from './two-nodes.ts';
import { verifies } from '../../requirements.ts';

const nodes: InProcessNode[] = [];

const node = async (name: string, options: InProcessOptions = {}): Promise<InProcessNode> => {
  const made = await startNode({ name, ...options });
  nodes.push(made);
  return made;
};

const two = async (): Promise<[host: Person, joiner: Person]> => [
  new Person(await node('maria'), 'host'),
  new Person(await node('kai'), 'joiner'),
];

/** Both, with the number on both screens. */
const compared = async (): Promise<[host: Person, joiner: Person]> => {
  const [host, joiner] = await two();
  await joiner.join(await host.start(), host.node.port);
  await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
  return [host, joiner];
};

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

describe('a pairing between two nodes', () => {
  it(
    verifies(
      'pair.by-code',
      'by a code: the same number on both, two yes, and each shows the other online within a second',
    ),
    async () => {
      const [host, joiner] = await compared();
      const [there, here] = [await host.look(), await joiner.look()];
      expect(there.sas).toMatch(/^\d{6}$/);
      expect(here.sas).toBe(there.sas);
      expect(there.peer).toMatchObject({ name: 'kai', nodeId: joiner.node.identity.nodeId, trusted: false });
      expect((await host.confirm()).outcome).toBe('allowed');
      expect((await host.look()).state).toBe('waiting-peer');
      expect(await host.peers()).toEqual([]);
      await joiner.confirm({ sas: here.sas });
      const saidAt = performance.now();
      const isOnline = (person: Person) => person.peers().then(([peer]) => peer?.status === 'online');
      while (!((await isOnline(host)) && (await isOnline(joiner)))) {
        if (performance.now() - saidAt > 5000) throw new Error('not online');
      }
      const tookMs = performance.now() - saidAt;
      console.log(`last yes to both online: ${Math.round(tookMs)} ms`);
      expect(tookMs).toBeLessThan(1000);
      await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
      expect(await host.peers()).toMatchObject([{ name: 'kai', trusted: true, grant: { level: 'full' } }]);
      expect(await joiner.peers()).toMatchObject([{ name: 'maria', trusted: true }]);
    },
  );

  it('by an invitation: the host said yes already, the joiner says it when it likes', async () => {
    const [host, joiner] = await two();
    const invitation = await host.start({ invite: true, name: 'attic', grant: 'observe' });
    expect(invitation).toMatch(/^loopsy-[a-z2-7]{32}-[a-z2-7]{26}$/);
    await joiner.join(invitation, host.node.port);
    await joiner.reaches('confirm');
    await joiner.confirm();
    await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
    expect(await host.peers()).toMatchObject([{ name: 'attic', grant: { level: 'observe' } }]);
  });

  it('a wrong number given with the yes is no yes', async () => {
    const [host] = await compared();
    const { sas = '' } = await host.look();
    expect((await host.confirm({ sas: otherCode(sas) })).outcome).toBe('conflict');
    expect((await host.look()).state).toBe('confirm');
  });

  it('before there is a number a yes has no effect', async () => {
    const [host] = await two();
    await host.start();
    expect((await host.confirm()).outcome).toBe('conflict');
    expect((await host.look()).state).toBe('waiting');
  });

  it('a mistyped code says so, and the next entry can be right', async () => {
    const [host, joiner] = await two();
    const code = await host.start();
    await joiner.join(otherCode(code), host.node.port);
    expect(await joiner.reaches('failed')).toMatchObject({ error: 'pair_wrong_code' });
    expect((await host.look()).state).toBe('waiting');
  });

  it('who tries again too soon after a wrong code is told for how long it waits, and then gets through', async () => {
    const clock = new FakeClock(Date.now());
    const host = new Person(await node('maria', { clock }), 'host');
    const joiner = new Person(await node('kai', { clock }), 'joiner');
    const code = await host.start();
    await joiner.join(otherCode(code), host.node.port);
    await joiner.reaches('failed');
    await joiner.join(code, host.node.port);
    expect(await joiner.until(({ trouble }) => trouble !== undefined)).toMatchObject({
      state: 'exchanging',
      trouble: expect.stringMatching(/^127\.0\.0\.1:\d+ asks to wait (?:9|10) s: too many tries in a short time$/),
    });
    clock.advance(10_000);
    await joiner.reaches('confirm');
  });

  it('the other side says no: both say so, and nothing is trusted', async () => {
    const [host, joiner] = await compared();
    await host.confirm();
    await joiner.confirm({ confirmed: false });
    expect(await joiner.reaches('failed')).toMatchObject({
      error: 'pair_refused',
      reason: expect.stringContaining('you said no'),
    });
    expect(await host.reaches('failed')).toMatchObject({ error: 'pair_refused', reason: 'the other side said no' });
    expect([await host.peers(), await joiner.peers()]).toEqual([[], []]);
  });

  it('a second code is no business of the command that showed the first', async () => {
    const [host, joiner] = await two();
    const first = await host.node.owner<{ id: string; inviteCode: string }>('POST', '/pair/start', {});
    await joiner.join(first.inviteCode, host.node.port);
    await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
    await host.confirm({ id: first.id });
    const second = await host.node.owner<{ id: string; inviteCode: string }>('POST', '/pair/start', {});
    const look = (id: string) => host.node.owner('GET', `/pair/status?role=host&id=${id}`);
    expect(await look(first.id)).toMatchObject({ id: first.id, state: 'waiting-peer', peer: { name: 'kai' } });
    expect(await look(second.id)).toMatchObject({ id: second.id, state: 'waiting', inviteCode: second.inviteCode });
    expect(await host.confirm({ id: first.id, confirmed: false })).toMatchObject({ outcome: 'conflict' });
    expect(await look(second.id)).toMatchObject({ state: 'waiting' });
    await joiner.confirm();
    await joiner.reaches('completed');
    await host.until(({ active }) => active);
    expect(await look(first.id)).toMatchObject({ state: 'completed' });
    expect(await host.confirm({ id: second.id, confirmed: false })).toMatchObject({ outcome: 'allowed' });
    expect(await look('0'.repeat(16))).toMatchObject({ state: 'idle' });
  });

  it('who gives up what is done already hears that it is done', async () => {
    const [host, joiner] = await compared();
    await host.confirm();
    await joiner.confirm();
    for (const person of [host, joiner]) {
      await person.reaches('completed');
      const { outcome, json } = await person.confirm({ confirmed: false });
      expect([outcome, json]).toEqual([
        'conflict',
        { error: expect.objectContaining({ message: 'you are paired already' }) },
      ]);
    }
  });

  it('the answer to a yes calls the other what it will be called', async () => {
    const [host, joiner] = await two();
    await joiner.join(await host.start({ name: 'desk' }), host.node.port, { name: 'attic' });
    await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
    expect((await host.confirm()).json).toMatchObject({
      message: 'your yes is kept; waiting for desk',
      peer: { name: 'desk' },
    });
    expect((await joiner.look()).peer).toMatchObject({ name: 'attic', proposedName: 'maria' });
    await joiner.confirm({ name: 'cellar' });
    await joiner.reaches('completed');
    expect(await joiner.peers()).toMatchObject([{ name: 'cellar' }]);
  });

  it('a second code is refused while one is open, and a cancelled one makes room', async () => {
    const [host] = await two();
    await host.start();
    await expect(host.start()).rejects.toThrow('pair_open');
    await host.confirm({ confirmed: false });
    expect(await host.start()).toMatch(/^\d{6}$/);
  });

  it('a code that was used is used up', async () => {
    const [host] = await compared();
    const third = new Person(await node('eve'), 'joiner');
    await third.join('123456', host.node.port);
    expect(await third.reaches('failed')).toMatchObject({ error: 'pair_busy' });
  });

  it('no pairing is open there; nobody is there; it is this machine itself', async () => {
    const [host, joiner] = await two();
    await joiner.join('123456', host.node.port);
    expect(await joiner.reaches('failed')).toMatchObject({ error: 'pair_not_open' });
    await joiner.join('123456', 1);
    expect(await joiner.reaches('failed')).toMatchObject({
      error: 'peer_unreachable',
      hint: expect.stringContaining('loopsy start'),
    });
    const own = await host.start();
    const myself = new Person(host.node, 'joiner');
    await myself.join(own, host.node.port);
    expect(await myself.reaches('failed')).toMatchObject({ reason: expect.stringContaining('this machine itself') });
    expect((await host.look()).state).toBe('waiting');
  });

  it('a code without an address asks for one', async () => {
    const [, joiner] = await two();
    expect(await joiner.join('123456', 1, { address: undefined })).toBe('invalid_request');
    expect(await joiner.join('12345', 1)).toBe('invalid_request');
  });
});
