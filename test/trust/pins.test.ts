import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { hashToken, keyIdOf } from '../../src/kernel/token-proof.ts';
import { issueSessionCertificate } from '../../src/trust/certificates.ts';
import { grantOfLevel } from '../../src/trust/grants.ts';
import { isTouched, type TrustChange } from '../../src/trust/trust-changes.ts';
import { resolveMachine } from '../../src/trust/trust-edits.ts';
import { makeMachine, TrustDesk, type TestMachine } from '../helpers/trust-desk.ts';
import { verifies } from '../requirements.ts';

let own: TestMachine;
let kai: TestMachine;
let mia: TestMachine;
beforeAll(async () => {
  [own, kai, mia] = await Promise.all([makeMachine(), makeMachine(), makeMachine()]);
});

let desk: TrustDesk;
beforeEach(() => {
  desk = new TrustDesk(own);
});

describe('trusting a machine', () => {
  it('is in force at once, for its sessions too, and survives a restart', async () => {
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'unknown' });
    const machine = await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(machine).toMatchObject({ machineId: kai.id, name: 'kai', grant: grantOfLevel('full'), source: 'paired' });
    expect(desk.said()).toEqual(['added kai']);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(kai.key, privateKey, desk.clock.now());
    for (const by of [desk.book, desk.open(0)]) {
      expect(desk.identify(kai.certificate, by)).toEqual({ machineId: kai.id, nodeId: kai.id });
      expect(desk.identify(session, by)).toMatchObject({ machineId: kai.id });
      expect(by.machine(kai.id)?.name).toBe('kai');
    }
  });

  it('knows the sessions of its own machine, at level full', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(own.key, privateKey, desk.clock.now());
    expect(desk.identify(session)).toMatchObject({ machineId: own.id });
    expect(desk.book.machine(own.id)?.grant.level).toBe('full');
    expect(desk.book.machines()).toEqual([]);
  });

  it('refuses itself, and what is no machine certificate', async () => {
    await expect(desk.book.trustMachine({ certificate: own.certificate })).rejects.toMatchObject({
      error: 'invalid_request',
    });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(kai.key, privateKey, desk.clock.now());
    for (const certificate of [session, Buffer.alloc(0), kai.certificate.subarray(1)]) {
      await expect(desk.book.trustMachine({ certificate })).rejects.toMatchObject({ error: 'invalid_request' });
    }
    expect(desk.book.machines()).toEqual([]);
  });

  it('never gives a known name to another key by itself: only where a person replaces it', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await expect(desk.book.trustMachine({ certificate: mia.certificate, name: 'kai' })).rejects.toMatchObject({
      error: 'conflict',
    });
    expect(desk.book.freeName('kai')).toBe('kai-2');
    await desk.book.trustMachine({ certificate: mia.certificate, name: 'kai', replaces: kai.id });
    expect(desk.book.resolve('kai').machineId).toBe(mia.id);
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(desk.said()).toEqual(['added kai', 'removed kai', 'added kai']);
  });

  it('keeps name, grant and date of one that is trusted already', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai', grant: { level: 'observe' } });
    desk.clock.advance(1000);
    const again = await desk.book.trustMachine({ certificate: kai.certificate });
    expect(again).toMatchObject({ name: 'kai', grant: { level: 'observe' }, addedAt: desk.clock.now() - 1000 });
  });

  it('refuses names that could be taken for an id', async () => {
    for (const name of [mia.id, 'Kai', 'kai kai', '-kai', '', 'kai\u202e']) {
      await expect(desk.book.trustMachine({ certificate: kai.certificate, name }), name).rejects.toMatchObject({
        error: 'invalid_request',
      });
    }
  });
});

describe('removing a machine', () => {
  it('ends its trust at once and says revoked to it, after a restart too', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(await desk.book.removeMachine('kai')).toMatchObject({ machineId: kai.id });
    expect(desk.said()).toEqual(['added kai', 'removed kai']);
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(desk.identify(kai.certificate, desk.open(0))).toEqual({ refused: 'revoked' });
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('keeps a bounded number of removals', async () => {
    for (let count = 0; count < 1001; count += 1) {
      const fingerprint = count.toString(16).padStart(64, '0');
      await desk.stores[0].commit([
        { put: `gone-machine/${fingerprint}`, value: JSON.stringify({ v: 1, blocksPin: false, removedAt: count }) },
      ]);
    }
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await desk.book.removeMachine('kai');
    expect(desk.stores[0].count('gone-machine/')).toBe(1000);
    expect(desk.stores[0].get(`gone-machine/${'0'.repeat(64)}`)).toBeUndefined();
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'revoked' });
  });
});

describe('naming a machine', () => {
  it(
    verifies('cli.peer-names', 'finds it by name and by four characters of its id, and lists the known ones'),
    async () => {
      await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
      expect(desk.book.resolve('KAI').machineId).toBe(kai.id);
      expect(desk.book.resolve(kai.id.slice(0, 4)).machineId).toBe(kai.id);
      for (const reference of [kai.id.slice(0, 3), 'mia', '', `${kai.id}x`]) {
        expect(() => desk.book.resolve(reference)).toThrow(
          expect.objectContaining({ error: 'peer_not_found', hint: 'known peers: kai' }),
        );
      }
    },
  );

  it(verifies('cli.peer-names', 'lists the matches of an ambiguous id'), async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    const machine = desk.book.resolve('kai');
    const twin = { ...machine, machineId: `${machine.machineId.slice(0, 6)}${'a'.repeat(26)}`, name: 'twin' };
    const state = {
      machines: new Map([
        [machine.machineId, machine],
        [twin.machineId, twin],
      ]),
      unmetPins: new Map(),
    };
    // The cast: the parts of a state that are read here.
    expect(() => resolveMachine(kai.id.slice(0, 5), state as never)).toThrow(/can mean 2 peers: kai .*, twin/);
    expect(resolveMachine(kai.id, state as never).name).toBe('kai');
  });

  it('is changed only here, to a name that is free', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await desk.book.trustMachine({ certificate: mia.certificate, name: 'mia' });
    await expect(desk.book.renameMachine('mia', 'kai')).rejects.toMatchObject({ error: 'conflict' });
    expect((await desk.book.renameMachine('mia', 'mia-2')).machineId).toBe(mia.id);
    expect(desk.said()).toEqual(['added kai', 'added mia', 'renamed mia-2']);
  });
});

describe('grants', () => {
  it('are narrowed and widened, and say so to who has to act', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await desk.book.setGrant('kai', { level: 'collaborate', folders: ['~/x'] });
    await desk.book.setGrant('kai', { level: 'full' });
    await desk.book.setGrant('kai', { level: 'full' });
    await desk.book.setGrant('kai', { level: 'observe', scopes: [] });
    expect(desk.said()).toEqual(['added kai', 'narrowed kai', 'widened kai', 'narrowed kai']);
    expect(desk.book.machine(kai.id)?.grant).toEqual({ level: 'observe', scopes: [], reach: [] });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('end by timer, and are noticed when the clock jumps', async () => {
    await desk.book.trustMachine({
      certificate: kai.certificate,
      name: 'kai',
      grant: { level: 'full', expires: 5000 },
    });
    await desk.book.trustMachine({
      certificate: mia.certificate,
      name: 'mia',
      grant: { level: 'full', expires: 86_400_000 },
    });
    desk.said();
    desk.clock.advance(4999);
    expect(desk.said()).toEqual([]);
    desk.clock.advance(1);
    expect(desk.said()).toEqual(['expired kai']);
    desk.clock.jump(86_400_000);
    desk.clock.advance(60_000);
    expect(desk.said()).toEqual(['expired mia']);
    desk.clock.advance(600_000);
    expect(desk.said()).toEqual([]);
    await desk.book.close();
    expect(desk.clock.waiting).toBe(0);
  });

  it('touch the callers that they are about', () => {
    const change = { what: 'narrowed', caller: 'agent', name: 'agent' } as const;
    const grant = grantOfLevel('full');
    expect(isTouched({ kind: 'agent', label: 'claude-2', grant }, change)).toBe(true);
    expect(isTouched({ kind: 'key', name: 'agent', grant }, change)).toBe(false);
    expect(isTouched({ kind: 'peer', machineId: 'x', nodeId: 'y', grant }, { ...change, caller: 'peer:x' })).toBe(true);
    expect(isTouched({ kind: 'owner' }, change)).toBe(false);
  });
});

describe('named keys', () => {
  it('are shown once, stored as hashes only, and known by what they are', async () => {
    const { key, record } = await desk.book.addKey('ci', { level: 'observe', expires: 60_000 });
    expect(record.grant.level).toBe('observe');
    expect(desk.book.findKey(key)).toMatchObject({ name: 'ci', kind: 'named' });
    expect(desk.book.keyHashById(keyIdOf(hashToken(key)))).toBe(hashToken(key));
    const stored = desk.stores[0]
      .list({ prefix: '', limit: 1000 })
      .map(({ key: at, value }) => at + value)
      .join('\n');
    expect(stored).not.toContain(key);
    for (const wrong of [hashToken(key), key.toUpperCase(), key.slice(1), ''])
      expect(desk.book.findKey(wrong)).toBeUndefined();
    expect(desk.book.keyHashById('0'.repeat(16))).toBeUndefined();
  });

  it('have level collaborate and reach nobody unless granted otherwise', async () => {
    const { record } = await desk.book.addKey('ci');
    expect(record.grant).toEqual(grantOfLevel('collaborate', []));
  });

  it('are revoked at once and for good', async () => {
    const { key } = await desk.book.addKey('ci');
    await desk.book.revokeKey('ci');
    expect(desk.book.findKey(key)).toBe('revoked');
    const second = await desk.book.addKey('ci');
    expect(desk.book.findKey(key)).toBe('revoked');
    expect(desk.book.findKey(second.key)).toMatchObject({ name: 'ci' });
    expect(desk.said()).toEqual(['added ci', 'removed ci', 'added ci']);
    await expect(desk.book.revokeKey('cd')).rejects.toMatchObject({ error: 'invalid_key', hint: 'known keys: ci' });
  });

  it('can not take a name that is taken or means something else', async () => {
    await desk.book.addKey('ci');
    for (const name of ['ci', 'CI']) await expect(desk.book.addKey(name)).rejects.toMatchObject({ error: 'conflict' });
    for (const name of ['agent', 'Owner', '', '../x', 'a b']) {
      await expect(desk.book.addKey(name)).rejects.toMatchObject({ error: 'invalid_request' });
    }
  });

  it('are granted anew; agents reach all unless narrowed', async () => {
    await desk.book.addKey('ci');
    expect(await desk.book.setKeyGrant('ci', { level: 'observe' })).toEqual(grantOfLevel('observe'));
    expect(desk.book.agentGrant).toEqual(grantOfLevel('full', 'all'));
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(await desk.book.setKeyGrant('agent', { level: 'collaborate', reach: ['kai'] })).toMatchObject({
      reach: [kai.id],
    });
    expect(desk.said()).toEqual(['added ci', 'narrowed ci', 'added kai', 'narrowed agent']);
    expect((await desk.book.setKeyGrant('agent', { level: 'full' })).reach).toBe('all');
    await expect(desk.book.setKeyGrant('agent', { level: 'full', reach: ['nobody'] })).rejects.toMatchObject({
      error: 'peer_not_found',
    });
  });
});

describe('another process of this machine', () => {
  it('sees a change, and the first one sees its', async () => {
    const other = desk.open(1);
    await other.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
    const { key } = await desk.book.addKey('ci');
    expect(other.findKey(key)).toMatchObject({ name: 'ci' });
    await other.removeMachine('kai');
    expect(desk.said()).toEqual(['added kai', 'added ci', 'removed kai']);
  });

  it('can not take the same name in the same moment', async () => {
    const other = desk.open(1);
    const outcomes = await Promise.allSettled([
      desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' }),
      other.trustMachine({ certificate: mia.certificate, name: 'kai' }),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(desk.book.machines()).toHaveLength(1);
  });

  it('loses no edit of many at once', async () => {
    const other = desk.open(1);
    const names = Array.from({ length: 6 }, (_, index) => `key-${index}`);
    await Promise.all(names.map((name, index) => (index % 2 === 0 ? desk.book : other).addKey(name)));
    expect(desk.book.keys().map(({ name }) => name)).toEqual(names);
  });

  it('that revokes and re-adds a name between two looks is still seen', async () => {
    await desk.book.addKey('ci');
    desk.said();
    await desk.stores[0].commit([
      {
        put: 'key/ci',
        value: JSON.stringify({ v: 1, keyHash: 'a'.repeat(64), grant: grantOfLevel('full'), createdAt: 1 }),
      },
    ]);
    await desk.book.addKey('cd');
    expect(desk.said()).toEqual(['removed ci', 'added ci', 'added cd']);
  });
});

describe('the book', () => {
  it('goes on where a listener or the store fails', async () => {
    desk.book.onChange(() => {
      throw new Error('boom');
    });
    const seen: TrustChange[] = [];
    desk.book.onChange((all) => seen.push(...all));
    await desk.book.addKey('ci');
    expect(seen).toHaveLength(1);
    expect(desk.problems).toMatchObject([{ kind: 'listener' }]);
    await desk.stores[0].close();
    await expect(desk.book.addKey('cd')).rejects.toThrow('closed');
    desk.setConfig({});
    expect(desk.problems.at(-1)).toMatchObject({ kind: 'store' });
    expect(desk.book.keys().map(({ name }) => name)).toEqual(['ci']);
  });

  it('holds a thousand machines and still refreshes within a few ms', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    const puts = Array.from({ length: 900 }, (_, index) => ({
      put: `key/k${index}`,
      value: JSON.stringify({ v: 1, keyHash: hashToken(String(index)), grant: grantOfLevel('observe'), createdAt: 1 }),
    }));
    await desk.stores[0].commit(puts);
    await desk.book.addKey('one');
    const started = performance.now();
    await desk.book.addKey('two');
    expect(performance.now() - started).toBeLessThan(200);
    expect(desk.book.keys()).toHaveLength(902);
    for (let count = 902; count < 1000; count += 1)
      await desk.stores[0].commit([
        {
          put: `key/m${count}`,
          value: puts[0]?.value.replace(/"keyHash":"[0-9a-f]+"/, `"keyHash":"${hashToken(`m${count}`)}"`) ?? '',
        },
      ]);
    await expect(desk.book.addKey('too-many')).rejects.toMatchObject({ error: 'conflict' });
  });
});
