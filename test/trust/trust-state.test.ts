import { beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { hashToken } from '../../src/kernel/token-proof.ts';
import { grantOfLevel } from '../../src/trust/grants.ts';
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

describe('entries of the config', () => {
  it(verifies('config.auth.allowedKeys', 'let a key in with level collaborate, at once, and out again'), async () => {
    const key = 'k'.repeat(40);
    desk.setConfig({ allowedKeys: { ci: key } });
    expect(desk.book.findKey(key)).toMatchObject({ name: 'ci', kind: 'config', grant: grantOfLevel('collaborate') });
    await desk.book.setKeyGrant('ci', { level: 'observe' });
    expect(desk.book.findKey(key)).toMatchObject({ grant: { level: 'observe' } });
    desk.setConfig({ allowedKeys: {} });
    expect(desk.book.findKey(key)).toBeUndefined();
    expect(desk.said()).toEqual(['added ci', 'narrowed ci', 'removed ci']);
  });

  it('do not bring a revoked key back', async () => {
    const key = 'k'.repeat(40);
    desk.setConfig({ allowedKeys: { ci: key } });
    await desk.book.revokeKey('ci');
    expect(desk.book.findKey(key)).toBe('revoked');
    desk.setConfig({ allowedKeys: { other: key } });
    expect(desk.book.findKey(key)).toBe('revoked');
    expect(desk.book.problems).toMatchObject([{ kind: 'ignored-key', about: 'other' }]);
  });

  it('do not take the name of a key that was added, nor share a key', async () => {
    await desk.book.addKey('ci');
    desk.setConfig({
      allowedKeys: { ci: 'a'.repeat(32), agent: 'b'.repeat(32), one: 'c'.repeat(32), two: 'c'.repeat(32) },
    });
    expect(desk.book.keys().map(({ name, kind }) => `${name} ${kind}`)).toEqual(['ci named', 'one config']);
    expect(desk.problems.map(({ about }) => about)).toEqual(['ci', 'agent', 'two']);
  });

  it(
    verifies(
      'config.tls.pinnedCerts',
      'trust a machine by its fingerprint as soon as it shows its certificate, also before that is on disk',
    ),
    async () => {
      desk.setConfig({ pinnedCerts: { kai: kai.fingerprint.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:') } });
      expect(desk.book.unmetPins()).toMatchObject([{ name: 'kai', fingerprint: kai.fingerprint }]);
      expect(desk.identify(mia.certificate)).toEqual({ refused: 'unknown' });
      expect(desk.identify(kai.certificate)).toEqual({ machineId: kai.id, nodeId: kai.id });
      expect(desk.book.resolve('kai')).toMatchObject({ source: 'config', grant: grantOfLevel('full') });
      await desk.book.addKey('wait-for-the-disk');
      const again = desk.open(1);
      expect(again.resolve('kai').machineId).toBe(kai.id);
      desk.setConfig({ pinnedCerts: {} });
      expect(desk.identify(kai.certificate)).toEqual({ refused: 'unknown' });
    },
  );

  it('keep the grant that a person gave a pin', async () => {
    desk.setConfig({ pinnedCerts: { kai: kai.fingerprint } });
    await desk.book.setGrant('kai', { level: 'observe' });
    desk.identify(kai.certificate);
    expect(desk.book.resolve('kai').grant.level).toBe('observe');
    await desk.book.setGrant('kai', { level: 'collaborate' });
    expect(desk.book.resolve('kai').grant.level).toBe('collaborate');
    await expect(desk.book.renameMachine('kai', 'other')).rejects.toMatchObject({ error: 'invalid_request' });
  });

  it('do not bring a removed machine back, met or not', async () => {
    desk.setConfig({ pinnedCerts: { kai: kai.fingerprint, mia: mia.fingerprint } });
    desk.identify(kai.certificate);
    await desk.book.removeMachine('kai');
    await desk.book.removeMachine('mia');
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(desk.identify(mia.certificate)).toEqual({ refused: 'unknown' });
    expect(desk.book.problems.map(({ kind }) => kind)).toEqual(['ignored-pin', 'ignored-pin']);
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('let a person pin anew what was removed before', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    await desk.book.removeMachine('kai');
    desk.setConfig({ pinnedCerts: { kai: kai.fingerprint } });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it(verifies('config.tls.pinnedCerts', 'that contradict a paired peer close it, and say so'), async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    desk.setConfig({ pinnedCerts: { kai: mia.fingerprint } });
    expect(desk.identify(kai.certificate)).toEqual({ refused: 'revoked' });
    expect(desk.identify(mia.certificate)).toMatchObject({ machineId: mia.id });
    expect(desk.problems).toMatchObject([{ kind: 'contradiction', about: 'kai' }]);
    expect(desk.said()).toEqual(['added kai', 'removed kai', 'added kai']);
    await expect(desk.book.trustMachine({ certificate: kai.certificate })).rejects.toMatchObject({ error: 'conflict' });
    desk.setConfig({ pinnedCerts: {} });
    expect(desk.identify(kai.certificate)).toMatchObject({ machineId: kai.id });
  });

  it('that are nonsense are reported and trust nobody', () => {
    desk.setConfig({ pinnedCerts: { x: 'nonsense', me: own.fingerprint } });
    expect(desk.problems.map(({ about }) => about)).toEqual(['x', 'me']);
    expect(desk.book.unmetPins()).toEqual([]);
  });
});

describe('a record that can not be used', () => {
  it.each(['', '{', 'null', '[]', '"x"', '{"v":1}', '{"v":2,"name":"kai"}'])(
    'is skipped, counted and reported: %s',
    async (value) => {
      await desk.book.trustMachine({ certificate: mia.certificate, name: 'mia' });
      const records = ['machine/x', 'gone-machine/x', 'met-pin/x', 'key/x', 'gone-key/x', 'grant-key/x', 'grant-pin/x'];
      await desk.stores[0].commit(records.map((put) => ({ put, value })));
      const again = desk.open(0);
      expect(again.machines().map(({ name }) => name)).toEqual(['mia']);
      expect(again.problems).toHaveLength(records.length);
      expect(desk.problems.map(({ about }) => about).sort()).toEqual(records.sort());
    },
  );

  it('is not believed where the certificate is of another machine', async () => {
    await desk.book.trustMachine({ certificate: mia.certificate, name: 'mia' });
    const { value } = desk.stores[0].get(`machine/${mia.id}`) ?? { value: '' };
    await desk.stores[0].commit([{ put: `machine/${kai.id}`, value }]);
    const again = desk.open(0);
    expect(again.machine(kai.id)).toBeUndefined();
    expect(again.problems).toHaveLength(1);
  });

  it('never widens: a grant that can not be read grants nothing', async () => {
    desk.setConfig({ allowedKeys: { ci: 'k'.repeat(32) }, pinnedCerts: { kai: kai.fingerprint } });
    await desk.stores[0].commit(
      ['grant-agent', 'grant-key/ci', `grant-pin/${kai.fingerprint}`].map((put) => ({ put, value: '{"v":9}' })),
    );
    const again = desk.open(0);
    desk.identify(kai.certificate, again);
    expect(again.agentGrant.scopes).toEqual([]);
    expect(again.keys()[0]?.grant.scopes).toEqual([]);
    expect(again.resolve('kai').grant.scopes).toEqual([]);
  });

  it('never undoes a removal or a revocation', async () => {
    const key = 'k'.repeat(32);
    desk.setConfig({ allowedKeys: { ci: key }, pinnedCerts: { kai: kai.fingerprint } });
    await desk.stores[0].commit(
      [`gone-key/${hashToken(key)}`, `gone-machine/${kai.fingerprint}`].map((put) => ({ put, value: '{' })),
    );
    const again = desk.open(0);
    expect(again.findKey(key)).toBe('revoked');
    expect(desk.identify(kai.certificate, again)).toEqual({ refused: 'unknown' });
  });

  it('is reported once, not at each change', async () => {
    await desk.stores[0].commit([{ put: 'key/x', value: '{' }]);
    const again = desk.open(0);
    await again.addKey('one');
    await again.addKey('two');
    expect(desk.problems).toHaveLength(1);
  });
});

describe('the name that means this machine', () => {
  it(
    verifies('peers.own-names', 'is taken from a peer that an older version gave it, and stays taken from it'),
    async () => {
      await desk.book.trustMachine({ certificate: mia.certificate, name: 'localhost-2' });
      await desk.book.trustMachine({ certificate: kai.certificate, name: 'other' });
      const [store] = desk.stores;
      const key = `machine/${kai.id}`;
      const stored = store.get(key)?.value.replace('"other"', '"localhost"') ?? '';
      await store.commit([{ put: key, value: stored }]);
      const again = desk.open(1);
      expect(again.machines().map(({ name, machineId }) => [name, machineId])).toEqual([
        ['localhost-2', mia.id],
        ['localhost-3', kai.id],
      ]);
      expect(() => again.resolve('localhost')).toThrow('no peer is called');
      await again.setGrant('localhost-3', { level: 'observe' });
      expect(store.get(key)?.value).toContain('"localhost-3"');
    },
  );

  it('is no name of a pin', () => {
    desk.setConfig({ pinnedCerts: { localhost: kai.fingerprint } });
    expect(desk.book.unmetPins()).toEqual([]);
    expect(desk.book.problems).toMatchObject([{ kind: 'ignored-pin', about: 'localhost' }]);
  });

  it('is no name that a person may choose, and none that a peer gets by itself', async () => {
    await expect(desk.book.trustMachine({ certificate: kai.certificate, name: 'localhost' })).rejects.toMatchObject({
      error: 'conflict',
      message: expect.stringContaining('means this machine'),
    });
    expect(desk.book.freeName('localhost')).toBe('localhost-2');
  });
});
