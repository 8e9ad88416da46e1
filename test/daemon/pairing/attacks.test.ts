import { afterEach, describe, expect, it } from 'vitest';

import { FakeClock } from '../../helpers/clock.ts';
import { type InProcessNode, type InProcessOptions, startNode } from '../../helpers/in-process-node.ts';
import { shownBy } from '../../helpers/ask.ts';
import { Recorder } from '../../helpers/recorder.ts';
import { NO_RELAYS, Relay } from '../../helpers/relay.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { otherCode, Person } from './two-nodes.ts';
import { verifies } from '../../requirements.ts';

const nodes: InProcessNode[] = [];

const node = async (name: string, options: InProcessOptions = {}): Promise<InProcessNode> => {
  const made = await startNode({ name, lan: true, ...options });
  nodes.push(made);
  return made;
};

const two = async (): Promise<[host: Person, joiner: Person]> => [
  new Person(await node('maria'), 'host'),
  new Person(await node('kai'), 'joiner'),
];

const compared = async ([host, joiner]: readonly [Person, Person]): Promise<[Person, Person]> => {
  await joiner.join(await host.start(), host.node.port);
  await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
  return [host, joiner];
};

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

describe('strangers at the steps of a pairing', () => {
  it(verifies('pair.page', 'a page in a browser calls the steps, in every way that it could'), async () => {
    const host = new Person(await node('maria'), 'host');
    await host.start();
    const step = { method: 'POST', path: '/pair/initiate', body: {} } as const;
    const origin = { origin: 'https://evil.example' };
    const ask = async (more: Partial<Parameters<InProcessNode['ask']>[0]>) =>
      (await host.node.ask({ ...step, ...more })).outcome;
    expect(await ask({ headers: origin })).toBe('foreign_origin');
    expect(await ask({ tls: 'no certificate', headers: origin })).toBe('foreign_origin');
    expect(await ask({ headers: { origin: 'null' } })).toBe('foreign_origin');
    expect(await ask({})).toBe('missing_key');
    expect(await ask({ from: '127.0.0.7' })).toBe('plain_http');
    for (const path of ['/pair/start', '/pair/join', '/pair/confirm'])
      expect(await ask({ path, tls: 'no certificate', from: '127.0.0.7' }), path).toBe('missing_key');
    expect((await host.look()).state).toBe('waiting');
  });

  it('sends too much, or nothing that is a message', async () => {
    const host = new Person(await node('maria'), 'host');
    await host.start();
    const bare = { method: 'POST', tls: 'no certificate' } as const;
    for (const path of ['/pair/initiate', '/pair/prove', '/pair/reveal', '/pair/settle']) {
      const large = await host.node.ask({ ...bare, path, body: { v: 1, pake: 'A'.repeat(9000) } });
      expect(large.outcome, path).toBe('body_too_large');
      const odd = await host.node.ask({ ...bare, path, body: { v: 1, pake: 7 } });
      expect(odd.status, path).toBeGreaterThanOrEqual(400);
      expect(odd.status, path).toBeLessThan(500);
    }
    expect((await host.look()).state).toBe('waiting');
  });

  it('guesses three times: the same command goes on with nine digits, and says from where the guesses came', async ({
    skip,
  }) => {
    if (NO_RELAYS !== undefined) skip(NO_RELAYS);
    const host = new Person(await node('maria'), 'host');
    const code = await host.start();
    for (const at of [1, 2, 3]) {
      const guesser = new Person(await node(`guesser-${at}`), 'joiner');
      const relay = await Relay.open({ port: host.node.port, from: `127.0.0.${10 + at}` });
      await guesser.join(otherCode(code), relay.port);
      await guesser.until(({ active }) => !active);
      await relay.close();
      expect(await guesser.look()).toMatchObject({ error: 'pair_wrong_code' });
    }
    const status = await host.look();
    expect(status).toMatchObject({ state: 'waiting', killedBy: ['127.0.0.11', '127.0.0.12', '127.0.0.13'] });
    expect(status.inviteCode).toMatch(/^\d{9}$/);
  });
});

describe('another machine at the address of one that made an invitation', () => {
  it('hears nothing', async () => {
    const [host, joiner] = await two();
    const invitation = await host.start({ invite: true });
    const wrong = new Recorder(shownBy(await makeMachine()));
    const port = await wrong.listen();
    await joiner.join(invitation, port);
    expect(await joiner.reaches('failed')).toMatchObject({
      error: 'peer_handshake',
      reason: expect.stringMatching(/^another machine answers at 127\.0\.0\.1:\d+ than the one that is meant$/),
    });
    expect(await wrong.catchUp(port)).toBe('');
    await wrong.close();
  });
});

describe('a pairing that does not go well', () => {
  it('expires after five minutes, says so, and is forgotten a minute later', async () => {
    const clock = new FakeClock(Date.now());
    const host = new Person(await node('maria', { clock }), 'host');
    await host.start();
    clock.advance(301_000);
    expect(await host.look()).toMatchObject({ state: 'failed', error: 'pair_expired' });
    clock.advance(62_000);
    clock.advance(1000);
    expect((await host.look()).state).toBe('idle');
  });

  it('a name that is taken is kept, and the new one gets a number; or takes its place where the person says so', async () => {
    for (const replace of [false, true]) {
      const [host, joiner] = await two();
      const old = new Person(await node('kai'), 'joiner');
      await compared([host, old]);
      await host.confirm();
      await old.confirm();
      await host.reaches('completed');
      await compared([host, joiner]);
      expect((await host.look()).peer).toMatchObject({
        name: 'kai-2',
        clash: { name: 'kai', nodeId: old.node.identity.nodeId },
      });
      await host.confirm({ replace });
      await joiner.confirm();
      await host.reaches('completed');
      const names = (await host.peers()).map(({ name, nodeId }) => [name, nodeId]);
      const fresh = joiner.node.identity.nodeId;
      expect(names).toEqual(
        replace
          ? [['kai', fresh]]
          : [
              ['kai', old.node.identity.nodeId],
              ['kai-2', fresh],
            ],
      );
    }
  });

  it('pairs again with the same machine: name and grant stay', async () => {
    const [host, joiner] = await two();
    for (const name of ['desk', undefined]) {
      await compared([host, joiner]);
      await host.confirm(name === undefined ? {} : { name, grant: 'observe' });
      await joiner.confirm();
      await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
    }
    expect(await host.peers()).toMatchObject([{ name: 'desk', grant: { level: 'observe' } }]);
  });

  it('what a person removes is not waited for', async () => {
    const [host, joiner] = await compared(await two());
    await host.confirm();
    await joiner.confirm();
    await host.reaches('completed');
    await host.node.owner('DELETE', '/peers/kai');
    expect(await host.peers()).toEqual([]);
  });
});
