import { describe, expect, it } from 'vitest';

import { PeerFactsBook } from '../../../src/daemon/peers/facts.ts';
import { RemoteObjects } from '../../../src/daemon/peers/object-owners.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { silentLog } from '../edge/listening.ts';

const ID = 'a'.repeat(32);
const at = (host: string, port = 19_532) => ({ host, port });

const openBook = () => {
  const store = openMemoryStore({ clock: new FakeClock() });
  return { store, book: new PeerFactsBook(store, silentLog) };
};

describe('facts about peers', () => {
  it('survive a restart, but for those that make no sense', async () => {
    const { store, book } = openBook();
    book.learn(ID, { hostname: 'kai', platform: 'darwin', capabilities: ['execute'] });
    book.reached(ID, at('10.0.0.7'));
    await book.addManual({ v: 1, address: at('10.0.0.9'), name: 'spare' });
    await store.commit([
      { put: 'peer/x', value: '{' },
      { put: 'peer/y', value: '{"v":2}' },
      { put: 'address/z', value: 'null' },
    ]);
    const again = new PeerFactsBook(store, silentLog);
    expect(again.get(ID)).toMatchObject({ hostname: 'kai', platform: 'darwin', addresses: [at('10.0.0.7')] });
    expect(again.manual()).toEqual([{ v: 1, address: at('10.0.0.9'), name: 'spare' }]);
  });

  it('are all there after a restart, of more peers than a page of the store holds', async () => {
    const { store } = openBook();
    // Digits of base 6, moved to those that a nodeId may have.
    const idOf = (n: number): string =>
      n
        .toString(6)
        .replaceAll(/\d/g, (digit) => `${Number(digit) + 2}`)
        .padStart(32, 'a');
    const ids = Array.from({ length: 1500 }, (_, n) => idOf(n));
    const facts = (nodeId: string) => ({
      v: 1,
      nodeId,
      hostname: nodeId,
      capabilities: [],
      addresses: [],
      manual: false,
    });
    const changes = ids.map((id) => ({ put: `peer/${id}`, value: JSON.stringify(facts(id)) }));
    await store.commit(changes.slice(0, 750));
    await store.commit(changes.slice(750));
    const again = new PeerFactsBook(store, silentLog);
    expect(ids.map((id) => again.get(id).hostname)).toEqual(ids);
  });

  it('say whether there was news: being there is none', () => {
    const { book } = openBook();
    expect(book.learn(ID, { hostname: 'kai', lastSeen: 1 })).toBe(true);
    expect(book.learn(ID, { hostname: 'kai', lastSeen: 2 })).toBe(false);
    expect(book.get(ID).lastSeen).toBe(2);
    expect(book.learn(ID, { hostname: 'kai-2' })).toBe(true);
  });

  it(
    verifies(
      'link.registry',
      'keep the addresses that worked, the newest first, eight of them; where it called from comes last',
    ),
    () => {
      const { book } = openBook();
      for (let host = 1; host <= 10; host += 1) book.reached(ID, at(`10.0.0.${host}`));
      expect(book.get(ID).addresses.map(({ host }) => host)).toEqual(
        [10, 9, 8, 7, 6, 5, 4, 3].map((host) => `10.0.0.${host}`),
      );
      book.reached(ID, at('10.0.0.5'));
      book.seenAt(ID, at('10.9.9.9'));
      book.seenAt(ID, at('10.0.0.5'));
      const { addresses } = book.get(ID);
      expect(addresses).toHaveLength(8);
      expect(addresses.at(-1)).toEqual(at('10.9.9.9'));
      expect(addresses.filter(({ host }) => host === '10.0.0.5')).toHaveLength(1);
    },
  );

  it(verifies('cli.addresses', 'find a node by its address; without a port it is 19532'), () => {
    const { book } = openBook();
    book.reached(ID, at('fe80::1'));
    book.seenAt(ID, at('kai.local', 4711));
    for (const text of ['[fe80::1]:19532', '[fe80::1]', 'fe80::1', 'kai.local:4711'])
      expect(book.nodesAt(text)).toEqual([ID]);
    for (const text of ['kai.local', 'kai.local:1', 'x y', '']) expect(book.nodesAt(text)).toEqual([]);
    expect([book.isKnownHost('kai.local'), book.isKnownHost('kai')]).toEqual([true, false]);
  });

  it('are forgotten with the peer', async () => {
    const { store, book } = openBook();
    book.reached(ID, at('10.0.0.7'));
    expect(book.nodesAt('10.0.0.7')).toEqual([ID]);
    book.seenAt(ID, at('10.0.0.8'));
    expect(book.nodesAt('10.0.0.8')).toEqual([ID]);
    await book.addManual({ v: 1, address: at('10.0.0.9') });
    book.forget(ID);
    expect(book.nodesAt('10.0.0.7')).toEqual([]);
    await store.commit([]);
    await book.removeManual(at('10.0.0.9'));
    await book.removeManual(at('10.0.0.10'));
    expect([book.get(ID).addresses, book.manual(), store.count('')]).toEqual([[], [], 0]);
  });
});

describe('objects on other nodes', () => {
  const key = (name: string): Caller => ({ kind: 'key', name, grant: { level: 'full', scopes: [], reach: 'all' } });

  it(
    verifies(
      'trust.owners',
      'are seen by who started them and by the owner, after a restart too; unknown ones by the owner alone',
    ),
    async () => {
      const clock = new FakeClock();
      const store = openMemoryStore({ clock });
      const owners = new RemoteObjects(store, { clock, log: silentLog, keepMs: () => 1000 });
      owners.record('job', { nodeId: ID, name: 'kai' }, key('ci'));
      await store.commit([]);
      for (const book of [owners, new RemoteObjects(store, { clock, log: silentLog, keepMs: () => 1000 })]) {
        expect(book.locate('job')).toMatchObject({ nodeId: ID, name: 'kai' });
        expect([
          book.maySee(key('ci'), 'job'),
          book.maySee(key('board'), 'job'),
          book.maySee({ kind: 'owner' }, 'job'),
        ]).toEqual([true, false, true]);
        expect([book.maySee(key('ci'), 'nobody’s'), book.maySee({ kind: 'owner' }, 'nobody’s')]).toEqual([false, true]);
      }
      clock.advance(2000);
      expect(new RemoteObjects(store, { clock, log: silentLog, keepMs: () => 1000 }).locate('job')).toBeUndefined();
    },
  );

  it(
    verifies(
      'jobs.detached-durable',
      'that outlive their request are on disk before it is answered, for as long as they go on',
    ),
    async () => {
      const clock = new FakeClock();
      const store = openMemoryStore({ clock });
      const make = (): RemoteObjects => new RemoteObjects(store, { clock, log: silentLog, keepMs: () => 1000 });
      await make().keep('job', { nodeId: ID, name: 'kai' }, key('ci'));
      clock.advance(30 * 86_400_000);
      expect([make().maySee(key('ci'), 'job'), make().locate('job')?.name]).toEqual([true, 'kai']);
      // An id that another peer makes up leads nowhere else.
      await make().keep('job', { nodeId: 'b'.repeat(32), name: 'mallory' }, key('ci'));
      expect(make().locate('job')?.name).toBe('kai');
      store.commit = () => Promise.reject(new Error('the disk is full'));
      await expect(make().keep('job-2', { nodeId: ID, name: 'kai' }, key('ci'))).rejects.toThrow('full');
    },
  );

  it('are remembered a thousand at a time in memory, the rest on disk', async () => {
    const clock = new FakeClock();
    const store = openMemoryStore({ clock });
    const owners = new RemoteObjects(store, { clock, log: silentLog, keepMs: () => 1_000_000 });
    for (let at = 0; at < 1500; at += 1) owners.record(`job-${at}`, { nodeId: ID, name: 'kai' }, key('ci'));
    await store.commit([]);
    expect(owners.maySee(key('ci'), 'job-0')).toBe(true);
    expect(owners.maySee(key('ci'), 'job-1499')).toBe(true);
  });
});
