import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { hashToken, keyIdOf } from '../../src/kernel/token-proof.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import {
  buildMachineCertificate,
  fingerprintOf,
  issueSessionCertificate,
  nodeIdOf,
  spkiOf,
} from '../../src/trust/certificates.ts';
import { grantOfLevel } from '../../src/trust/grants.ts';
import { inspectLeaf, type Identified } from '../../src/trust/leaf.ts';
import { TrustBook } from '../../src/trust/pins.ts';
import { isTouched, type TrustChange } from '../../src/trust/trust-changes.ts';
import { resolveMachine } from '../../src/trust/trust-edits.ts';
import type { TrustConfig, TrustProblem } from '../../src/trust/trust-state.ts';
import { FakeClock } from '../helpers/clock.ts';

interface TestMachine {
  readonly id: string;
  readonly certificate: Buffer;
  readonly fingerprint: string;
  readonly key: ReturnType<typeof generateKeyPairSync>['privateKey'];
}

const makeMachine = async (): Promise<TestMachine> => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await buildMachineCertificate(privateKey);
  return {
    id: nodeIdOf(spkiOf(privateKey) ?? Buffer.alloc(0)),
    certificate,
    fingerprint: fingerprintOf(certificate),
    key: privateKey,
  };
};

/** One file as two processes see it: a commit through one view is a foreign change to the other. */
const openTwins = (clock: FakeClock): [Store, Store] => {
  const store = openMemoryStore({ clock });
  const listeners: [Set<() => void>, Set<() => void>] = [new Set(), new Set()];
  const view = (own: 0 | 1): Store => ({
    get revision() {
      return store.revision;
    },
    get: (key) => store.get(key),
    list: (query) => store.list(query),
    count: (prefix) => store.count(prefix),
    async commit(changes) {
      const revision = await store.commit(changes);
      for (const listener of listeners[own === 0 ? 1 : 0]) listener();
      return revision;
    },
    onForeignChange(listener) {
      listeners[own].add(listener);
      return () => listeners[own].delete(listener);
    },
    close: () => store.close(),
  });
  return [view(0), view(1)];
};

let own: TestMachine;
let kai: TestMachine;
let mia: TestMachine;
beforeAll(async () => {
  [own, kai, mia] = await Promise.all([makeMachine(), makeMachine(), makeMachine()]);
});

let clock: FakeClock;
let stores: [Store, Store];
let config: TrustConfig;
let configListeners: Set<() => void>;
let problems: TrustProblem[];
let book: TrustBook;
let changes: TrustChange[];

const openBook = (store: Store): TrustBook =>
  new TrustBook({
    store,
    ownCertificate: own.certificate,
    clock,
    config: {
      current: () => config,
      onChange(listener) {
        configListeners.add(listener);
        return () => configListeners.delete(listener);
      },
    },
    report: (problem) => problems.push(problem),
  });

const setConfig = (next: Partial<TrustConfig>): void => {
  config = { ...config, ...next };
  for (const listener of configListeners) listener();
};

const identify = (certificate: Buffer, by = book): Identified => {
  const leaf = inspectLeaf(certificate);
  return leaf === undefined ? { refused: 'unknown' } : by.identify(leaf);
};

const what = (): string[] => changes.splice(0).map((change) => `${change.what} ${change.name}`);

beforeEach(() => {
  clock = new FakeClock(Date.now());
  stores = openTwins(clock);
  config = { allowedKeys: {}, pinnedCerts: {} };
  configListeners = new Set();
  problems = [];
  changes = [];
  book = openBook(stores[0]);
  book.onChange((all) => changes.push(...all));
});

describe('trusting a machine', () => {
  it('is in force at once, for its sessions too, and survives a restart', async () => {
    expect(identify(kai.certificate)).toEqual({ refused: 'unknown' });
    const machine = await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(machine).toMatchObject({ machineId: kai.id, name: 'kai', grant: grantOfLevel('full'), source: 'paired' });
    expect(what()).toEqual(['added kai']);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(kai.key, privateKey, clock.now());
    for (const by of [book, openBook(stores[0])]) {
      expect(identify(kai.certificate, by)).toEqual({ machineId: kai.id, nodeId: kai.id });
      expect(identify(session, by)).toMatchObject({ machineId: kai.id });
      expect(by.machine(kai.id)?.name).toBe('kai');
    }
  });

  it('knows the sessions of its own machine, at level full', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(own.key, privateKey, clock.now());
    expect(identify(session)).toMatchObject({ machineId: own.id });
    expect(book.machine(own.id)?.grant.level).toBe('full');
    expect(book.machines()).toEqual([]);
  });

  it('refuses itself, and what is no machine certificate', async () => {
    await expect(book.trustMachine({ certificate: own.certificate })).rejects.toMatchObject({
      error: 'invalid_request',
    });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const session = issueSessionCertificate(kai.key, privateKey, clock.now());
    for (const certificate of [session, Buffer.alloc(0), kai.certificate.subarray(1)]) {
      await expect(book.trustMachine({ certificate })).rejects.toMatchObject({ error: 'invalid_request' });
    }
    expect(book.machines()).toEqual([]);
  });

  it('never gives a known name to another key by itself: only where a person replaces it', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await expect(book.trustMachine({ certificate: mia.certificate, name: 'kai' })).rejects.toMatchObject({
      error: 'conflict',
    });
    expect(book.freeName('kai')).toBe('kai-2');
    await book.trustMachine({ certificate: mia.certificate, name: 'kai', replaces: kai.id });
    expect(book.resolve('kai').machineId).toBe(mia.id);
    expect(identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(what()).toEqual(['added kai', 'removed kai', 'added kai']);
  });

  it('keeps name, grant and date of one that is trusted already', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai', grant: { level: 'observe' } });
    clock.advance(1000);
    const again = await book.trustMachine({ certificate: kai.certificate });
    expect(again).toMatchObject({ name: 'kai', grant: { level: 'observe' }, addedAt: clock.now() - 1000 });
  });

  it('refuses names that could be taken for an id', async () => {
    for (const name of [mia.id, 'Kai', 'kai kai', '-kai', '', 'kai\u202e']) {
      await expect(book.trustMachine({ certificate: kai.certificate, name }), name).rejects.toMatchObject({
        error: 'invalid_request',
      });
    }
  });
});

describe('removing a machine', () => {
  it('ends its trust at once and says revoked to it, after a restart too', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(await book.removeMachine('kai')).toMatchObject({ machineId: kai.id });
    expect(what()).toEqual(['added kai', 'removed kai']);
    expect(identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(identify(kai.certificate, openBook(stores[0]))).toEqual({ refused: 'revoked' });
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('keeps a bounded number of removals', async () => {
    for (let count = 0; count < 1001; count += 1) {
      const fingerprint = count.toString(16).padStart(64, '0');
      await stores[0].commit([
        { put: `gone-machine/${fingerprint}`, value: JSON.stringify({ v: 1, blocksPin: false, removedAt: count }) },
      ]);
    }
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await book.removeMachine('kai');
    expect(stores[0].count('gone-machine/')).toBe(1000);
    expect(stores[0].get(`gone-machine/${'0'.repeat(64)}`)).toBeUndefined();
    expect(identify(kai.certificate)).toEqual({ refused: 'revoked' });
  });
});

describe('naming a machine', () => {
  it('finds it by name and by four characters of its id, and lists the known ones', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(book.resolve('KAI').machineId).toBe(kai.id);
    expect(book.resolve(kai.id.slice(0, 4)).machineId).toBe(kai.id);
    for (const reference of [kai.id.slice(0, 3), 'mia', '', `${kai.id}x`]) {
      expect(() => book.resolve(reference)).toThrow(
        expect.objectContaining({ error: 'peer_not_found', hint: 'known peers: kai' }),
      );
    }
  });

  it('lists the matches of an ambiguous id', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    const machine = book.resolve('kai');
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
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await book.trustMachine({ certificate: mia.certificate, name: 'mia' });
    await expect(book.renameMachine('mia', 'kai')).rejects.toMatchObject({ error: 'conflict' });
    expect((await book.renameMachine('mia', 'mia-2')).machineId).toBe(mia.id);
    expect(what()).toEqual(['added kai', 'added mia', 'renamed mia-2']);
  });
});

describe('grants', () => {
  it('are narrowed and widened, and say so to who has to act', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await book.setGrant('kai', { level: 'collaborate', folders: ['~/x'] });
    await book.setGrant('kai', { level: 'full' });
    await book.setGrant('kai', { level: 'full' });
    await book.setGrant('kai', { level: 'observe', scopes: [] });
    expect(what()).toEqual(['added kai', 'narrowed kai', 'widened kai', 'narrowed kai']);
    expect(book.machine(kai.id)?.grant).toEqual({ level: 'observe', scopes: [], reach: [] });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('end by timer, and are noticed when the clock jumps', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai', grant: { level: 'full', expires: 5000 } });
    await book.trustMachine({
      certificate: mia.certificate,
      name: 'mia',
      grant: { level: 'full', expires: 86_400_000 },
    });
    what();
    clock.advance(4999);
    expect(what()).toEqual([]);
    clock.advance(1);
    expect(what()).toEqual(['expired kai']);
    clock.jump(86_400_000);
    clock.advance(60_000);
    expect(what()).toEqual(['expired mia']);
    clock.advance(600_000);
    expect(what()).toEqual([]);
    await book.close();
    expect(clock.waiting).toBe(0);
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
    const { key, record } = await book.addKey('ci', { level: 'observe', expires: 60_000 });
    expect(record.grant.level).toBe('observe');
    expect(book.findKey(key)).toMatchObject({ name: 'ci', kind: 'named' });
    expect(book.keyHashById(keyIdOf(hashToken(key)))).toBe(hashToken(key));
    const stored = stores[0]
      .list({ prefix: '', limit: 1000 })
      .map(({ key: at, value }) => at + value)
      .join('\n');
    expect(stored).not.toContain(key);
    for (const wrong of [hashToken(key), key.toUpperCase(), key.slice(1), ''])
      expect(book.findKey(wrong)).toBeUndefined();
    expect(book.keyHashById('0'.repeat(16))).toBeUndefined();
  });

  it('have level collaborate and reach nobody unless granted otherwise', async () => {
    const { record } = await book.addKey('ci');
    expect(record.grant).toEqual(grantOfLevel('collaborate', []));
  });

  it('are revoked at once and for good', async () => {
    const { key } = await book.addKey('ci');
    await book.revokeKey('ci');
    expect(book.findKey(key)).toBe('revoked');
    const second = await book.addKey('ci');
    expect(book.findKey(key)).toBe('revoked');
    expect(book.findKey(second.key)).toMatchObject({ name: 'ci' });
    expect(what()).toEqual(['added ci', 'removed ci', 'added ci']);
    await expect(book.revokeKey('cd')).rejects.toMatchObject({ error: 'invalid_key', hint: 'known keys: ci' });
  });

  it('can not take a name that is taken or means something else', async () => {
    await book.addKey('ci');
    for (const name of ['ci', 'CI']) await expect(book.addKey(name)).rejects.toMatchObject({ error: 'conflict' });
    for (const name of ['agent', 'Owner', '', '../x', 'a b']) {
      await expect(book.addKey(name)).rejects.toMatchObject({ error: 'invalid_request' });
    }
  });

  it('are granted anew; agents reach all unless narrowed', async () => {
    await book.addKey('ci');
    expect(await book.setKeyGrant('ci', { level: 'observe' })).toEqual(grantOfLevel('observe'));
    expect(book.agentGrant).toEqual(grantOfLevel('full', 'all'));
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(await book.setKeyGrant('agent', { level: 'collaborate', reach: ['kai'] })).toMatchObject({
      reach: [kai.id],
    });
    expect(what()).toEqual(['added ci', 'narrowed ci', 'added kai', 'narrowed agent']);
    expect((await book.setKeyGrant('agent', { level: 'full' })).reach).toBe('all');
    await expect(book.setKeyGrant('agent', { level: 'full', reach: ['nobody'] })).rejects.toMatchObject({
      error: 'peer_not_found',
    });
  });
});

describe('another process of this machine', () => {
  it('sees a change, and the first one sees its', async () => {
    const other = openBook(stores[1]);
    await other.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
    const { key } = await book.addKey('ci');
    expect(other.findKey(key)).toMatchObject({ name: 'ci' });
    await other.removeMachine('kai');
    expect(what()).toEqual(['added kai', 'added ci', 'removed kai']);
  });

  it('can not take the same name in the same moment', async () => {
    const other = openBook(stores[1]);
    const outcomes = await Promise.allSettled([
      book.trustMachine({ certificate: kai.certificate, name: 'kai' }),
      other.trustMachine({ certificate: mia.certificate, name: 'kai' }),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(book.machines()).toHaveLength(1);
  });

  it('loses no edit of many at once', async () => {
    const other = openBook(stores[1]);
    const names = Array.from({ length: 6 }, (_, index) => `key-${index}`);
    await Promise.all(names.map((name, index) => (index % 2 === 0 ? book : other).addKey(name)));
    expect(book.keys().map(({ name }) => name)).toEqual(names);
  });

  it('that revokes and re-adds a name between two looks is still seen', async () => {
    await book.addKey('ci');
    what();
    await stores[0].commit([
      {
        put: 'key/ci',
        value: JSON.stringify({ v: 1, keyHash: 'a'.repeat(64), grant: grantOfLevel('full'), createdAt: 1 }),
      },
    ]);
    await book.addKey('cd');
    expect(what()).toEqual(['removed ci', 'added ci', 'added cd']);
  });
});

describe('entries of the config', () => {
  it('let a key in with level collaborate, at once, and out again', async () => {
    const key = 'k'.repeat(40);
    setConfig({ allowedKeys: { ci: key } });
    expect(book.findKey(key)).toMatchObject({ name: 'ci', kind: 'config', grant: grantOfLevel('collaborate') });
    await book.setKeyGrant('ci', { level: 'observe' });
    expect(book.findKey(key)).toMatchObject({ grant: { level: 'observe' } });
    setConfig({ allowedKeys: {} });
    expect(book.findKey(key)).toBeUndefined();
    expect(what()).toEqual(['added ci', 'narrowed ci', 'removed ci']);
  });

  it('do not bring a revoked key back', async () => {
    const key = 'k'.repeat(40);
    setConfig({ allowedKeys: { ci: key } });
    await book.revokeKey('ci');
    expect(book.findKey(key)).toBe('revoked');
    setConfig({ allowedKeys: { other: key } });
    expect(book.findKey(key)).toBe('revoked');
    expect(book.problems).toMatchObject([{ kind: 'ignored-key', about: 'other' }]);
  });

  it('do not take the name of a key that was added, nor share a key', async () => {
    await book.addKey('ci');
    setConfig({ allowedKeys: { ci: 'a'.repeat(32), agent: 'b'.repeat(32), one: 'c'.repeat(32), two: 'c'.repeat(32) } });
    expect(book.keys().map(({ name, kind }) => `${name} ${kind}`)).toEqual(['ci named', 'one config']);
    expect(problems.map(({ about }) => about)).toEqual(['ci', 'agent', 'two']);
  });

  it('trust a machine by its fingerprint as soon as it shows its certificate, also before that is on disk', async () => {
    setConfig({ pinnedCerts: { kai: kai.fingerprint.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:') } });
    expect(book.unmetPins()).toMatchObject([{ name: 'kai', fingerprint: kai.fingerprint }]);
    expect(identify(mia.certificate)).toEqual({ refused: 'unknown' });
    expect(identify(kai.certificate)).toEqual({ machineId: kai.id, nodeId: kai.id });
    expect(book.resolve('kai')).toMatchObject({ source: 'config', grant: grantOfLevel('full') });
    await book.addKey('wait-for-the-disk');
    const again = openBook(stores[1]);
    expect(again.resolve('kai').machineId).toBe(kai.id);
    setConfig({ pinnedCerts: {} });
    expect(identify(kai.certificate)).toEqual({ refused: 'unknown' });
  });

  it('keep the grant that a person gave a pin', async () => {
    setConfig({ pinnedCerts: { kai: kai.fingerprint } });
    await book.setGrant('kai', { level: 'observe' });
    identify(kai.certificate);
    expect(book.resolve('kai').grant.level).toBe('observe');
    await book.setGrant('kai', { level: 'collaborate' });
    expect(book.resolve('kai').grant.level).toBe('collaborate');
    await expect(book.renameMachine('kai', 'other')).rejects.toMatchObject({ error: 'invalid_request' });
  });

  it('do not bring a removed machine back, met or not', async () => {
    setConfig({ pinnedCerts: { kai: kai.fingerprint, mia: mia.fingerprint } });
    identify(kai.certificate);
    await book.removeMachine('kai');
    await book.removeMachine('mia');
    expect(identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(identify(mia.certificate)).toEqual({ refused: 'unknown' });
    expect(book.problems.map(({ kind }) => kind)).toEqual(['ignored-pin', 'ignored-pin']);
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('let a person pin anew what was removed before', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await book.removeMachine('kai');
    setConfig({ pinnedCerts: { kai: kai.fingerprint } });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('that contradict a paired peer close it, and say so', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    setConfig({ pinnedCerts: { kai: mia.fingerprint } });
    expect(identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(identify(mia.certificate)).toMatchObject({ machineId: mia.id });
    expect(problems).toMatchObject([{ kind: 'contradiction', about: 'kai' }]);
    expect(what()).toEqual(['added kai', 'removed kai', 'added kai']);
    await expect(book.trustMachine({ certificate: kai.certificate })).rejects.toMatchObject({ error: 'conflict' });
    setConfig({ pinnedCerts: {} });
    expect(identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('that are nonsense are reported and trust nobody', () => {
    setConfig({ pinnedCerts: { x: 'nonsense', me: own.fingerprint } });
    expect(problems.map(({ about }) => about)).toEqual(['x', 'me']);
    expect(book.unmetPins()).toEqual([]);
  });
});

describe('a record that can not be used', () => {
  it.each(['', '{', 'null', '[]', '"x"', '{"v":1}', '{"v":2,"name":"kai"}'])(
    'is skipped, counted and reported: %s',
    async (value) => {
      await book.trustMachine({ certificate: mia.certificate, name: 'mia' });
      const records = ['machine/x', 'gone-machine/x', 'met-pin/x', 'key/x', 'gone-key/x', 'grant-key/x', 'grant-pin/x'];
      await stores[0].commit(records.map((put) => ({ put, value })));
      const again = openBook(stores[0]);
      expect(again.machines().map(({ name }) => name)).toEqual(['mia']);
      expect(again.problems).toHaveLength(records.length);
      expect(problems.map(({ about }) => about).sort()).toEqual(records.sort());
    },
  );

  it('is not believed where the certificate is of another machine', async () => {
    await book.trustMachine({ certificate: mia.certificate, name: 'mia' });
    const { value } = stores[0].get(`machine/${mia.id}`) ?? { value: '' };
    await stores[0].commit([{ put: `machine/${kai.id}`, value }]);
    const again = openBook(stores[0]);
    expect(again.machine(kai.id)).toBeUndefined();
    expect(again.problems).toHaveLength(1);
  });

  it('never widens: a grant that can not be read grants nothing', async () => {
    setConfig({ allowedKeys: { ci: 'k'.repeat(32) }, pinnedCerts: { kai: kai.fingerprint } });
    await stores[0].commit(
      ['grant-agent', 'grant-key/ci', `grant-pin/${kai.fingerprint}`].map((put) => ({ put, value: '{"v":9}' })),
    );
    const again = openBook(stores[0]);
    identify(kai.certificate, again);
    expect(again.agentGrant.scopes).toEqual([]);
    expect(again.keys()[0]?.grant.scopes).toEqual([]);
    expect(again.resolve('kai').grant.scopes).toEqual([]);
  });

  it('never undoes a removal or a revocation', async () => {
    const key = 'k'.repeat(32);
    setConfig({ allowedKeys: { ci: key }, pinnedCerts: { kai: kai.fingerprint } });
    await stores[0].commit(
      [`gone-key/${hashToken(key)}`, `gone-machine/${kai.fingerprint}`].map((put) => ({ put, value: '{' })),
    );
    const again = openBook(stores[0]);
    expect(again.findKey(key)).toBe('revoked');
    expect(identify(kai.certificate, again)).toEqual({ refused: 'unknown' });
  });

  it('is reported once, not at each change', async () => {
    await stores[0].commit([{ put: 'key/x', value: '{' }]);
    const again = openBook(stores[0]);
    await again.addKey('one');
    await again.addKey('two');
    expect(problems).toHaveLength(1);
  });
});

describe('the book', () => {
  it('goes on where a listener or the store fails', async () => {
    book.onChange(() => {
      throw new Error('boom');
    });
    const seen: TrustChange[] = [];
    book.onChange((all) => seen.push(...all));
    await book.addKey('ci');
    expect(seen).toHaveLength(1);
    expect(problems).toMatchObject([{ kind: 'listener' }]);
    await stores[0].close();
    await expect(book.addKey('cd')).rejects.toThrow('closed');
    setConfig({});
    expect(problems.at(-1)).toMatchObject({ kind: 'store' });
    expect(book.keys().map(({ name }) => name)).toEqual(['ci']);
  });

  it('holds a thousand machines and still refreshes within a few ms', async () => {
    await book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    const puts = Array.from({ length: 900 }, (_, index) => ({
      put: `key/k${index}`,
      value: JSON.stringify({ v: 1, keyHash: hashToken(String(index)), grant: grantOfLevel('observe'), createdAt: 1 }),
    }));
    await stores[0].commit(puts);
    await book.addKey('one');
    const started = performance.now();
    await book.addKey('two');
    expect(performance.now() - started).toBeLessThan(200);
    expect(book.keys()).toHaveLength(902);
    for (let count = 902; count < 1000; count += 1)
      await stores[0].commit([
        {
          put: `key/m${count}`,
          value: puts[0]?.value.replace(/"keyHash":"[0-9a-f]+"/, `"keyHash":"${hashToken(`m${count}`)}"`) ?? '',
        },
      ]);
    await expect(book.addKey('too-many')).rejects.toMatchObject({ error: 'conflict' });
  });
});
