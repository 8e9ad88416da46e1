import { beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { OwnMachine } from '../../src/trust/pairing-hello.ts';
import type { PairingRecord } from '../../src/trust/pairing-record.ts';
import { makeMachine, TrustDesk, type TestMachine } from '../helpers/trust-desk.ts';

let own: TestMachine;
let kai: TestMachine;
let other: TestMachine;
let desk: TrustDesk;

const peerOf = ({ certificate, id }: TestMachine, name = 'kai'): PairingRecord['peer'] => ({
  certificate,
  machineId: id,
  name,
  port: 19_532,
  version: '2.0.0',
  features: [] as OwnMachine['features'],
});

const recordOf = (machine: TestMachine, more: Partial<PairingRecord> = {}): PairingRecord => ({
  role: 'host',
  id: 'ab'.repeat(32),
  attempt: 'AAAAAAAAAAAAAAAAAAAAAA',
  decideKey: Buffer.alloc(32, 3),
  ownId: own.id,
  peer: peerOf(machine),
  startedAt: 1_800_000_000_000,
  stage: 'pending',
  wish: {},
  hadTrust: false,
  ...more,
});

const store = (record: PairingRecord) => desk.book.carryOutPairing({ kind: 'store', record });
const trust = (record: PairingRecord) =>
  desk.book.carryOutPairing({ kind: 'trust', record: { ...record, stage: 'trusted' } });
const ids = () => desk.book.pairings().map(({ id, stage }) => `${id.slice(0, 2)} ${stage}`);

beforeAll(async () => {
  [own, kai, other] = await Promise.all([makeMachine(), makeMachine(), makeMachine()]);
});

beforeEach(() => {
  desk = new TrustDesk(own);
});

describe('what a pairing does to the trust book', () => {
  it('a stored yes trusts nobody, and is there after a restart', async () => {
    await store(recordOf(kai));
    expect(desk.book.machines()).toEqual([]);
    expect(desk.open(0).pairings()).toEqual([recordOf(kai)]);
    expect(desk.problems).toEqual([]);
  });

  it('a new run replaces a pending record of the same machine, and nobody else', async () => {
    await store(recordOf(kai));
    await store(recordOf(other, { id: 'cd'.repeat(32) }));
    await store(recordOf(kai, { id: 'ef'.repeat(32) }));
    expect(ids().sort()).toEqual(['cd pending', 'ef pending']);
  });

  it('trust, its name and its record are one transaction: the proposal, or with a number where it is taken', async () => {
    await desk.book.trustMachine({ certificate: other.certificate, name: 'kai' });
    await store(recordOf(kai));
    expect(await trust(recordOf(kai))).toEqual({ hadTrust: false });
    expect(desk.book.machine(kai.id)).toMatchObject({ name: 'kai-2', grant: { level: 'full' } });
    expect(ids()).toEqual(['ab trusted']);
  });

  it('the chosen name and grant hold', async () => {
    await trust(recordOf(kai, { wish: { name: 'attic', grant: { level: 'observe' } } }));
    expect(desk.book.machine(kai.id)).toMatchObject({ name: 'attic', grant: { level: 'observe' } });
  });

  it('replaces the old key under a known name only where that was chosen, in the same transaction', async () => {
    await desk.book.trustMachine({ certificate: other.certificate, name: 'kai' });
    const record = recordOf(kai, { wish: { replaces: other.id } });
    await trust(record);
    expect(desk.book.machines().map(({ name, machineId }) => [name, machineId])).toEqual([['kai', kai.id]]);
    // A repeat after a crash finds its own work.
    await trust(record);
    expect(desk.book.machine(kai.id)?.name).toBe('kai');
  });

  it('the same key again keeps its name and its grant', async () => {
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'desk', grant: { level: 'observe' } });
    expect(await trust(recordOf(kai))).toEqual({ hadTrust: true });
    expect(desk.book.machine(kai.id)).toMatchObject({ name: 'desk', grant: { level: 'observe' } });
    expect(desk.book.pairings()[0]?.hadTrust).toBe(true);
  });

  it('a repeat of the trust says what the first one found', async () => {
    await trust(recordOf(kai));
    expect(await trust(recordOf(kai))).toEqual({ hadTrust: false });
  });

  it('a trust that never settled is not one that was there before', async () => {
    await trust(recordOf(kai));
    expect(await trust(recordOf(kai, { id: 'cd'.repeat(32) }))).toEqual({ hadTrust: false });
    expect(ids()).toEqual(['cd trusted']);
  });

  it('takes trust back with its record, and only once', async () => {
    await trust(recordOf(kai));
    const effect = { kind: 'untrust', id: recordOf(kai).id, machineId: kai.id } as const;
    await desk.book.carryOutPairing(effect);
    expect([desk.book.machines(), ids()]).toEqual([[], []]);
    await desk.book.carryOutPairing(effect);
    expect(desk.identify(kai.certificate)).toMatchObject({ refused: 'revoked' });
  });

  it('forgets a record and leaves the trust', async () => {
    await trust(recordOf(kai));
    await desk.book.carryOutPairing({ kind: 'forget', id: recordOf(kai).id });
    expect(ids()).toEqual([]);
    expect(desk.book.machine(kai.id)?.name).toBe('kai');
  });

  it('a record of another identity of this machine is worth nothing, and said', async () => {
    await store(recordOf(kai, { ownId: other.id }));
    expect(desk.book.pairings()).toEqual([]);
    expect(desk.problems).toMatchObject([{ kind: 'bad-record' }]);
  });
});
