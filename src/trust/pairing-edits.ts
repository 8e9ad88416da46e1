import { fingerprintOf } from './certificates.ts';
import { localNameOf } from './pairing-hello.ts';
import type { PairingEffect } from './pairing-party.ts';
import { writePairingRecord, type PairingRecord } from './pairing-record.ts';
import {
  freeName,
  planRemoval,
  planTrust,
  type EditBase,
  type NewTrust,
  type Plan,
  type TrustRecordChange,
} from './trust-edits.ts';
import { KEYS, type Machine } from './trust-records.ts';

/** What an effect of a pairing results in. */
export interface PairingOutcome {
  /** After a trust: the key was trusted before this pairing, and the record says so. */
  readonly hadTrust?: boolean;
}

const put = (record: PairingRecord): TrustRecordChange => ({
  put: KEYS.pairing + record.id,
  value: writePairingRecord(record),
});

const drop = (id: string): TrustRecordChange => ({ delete: KEYS.pairing + id });

const recordsOf = (machineId: string, { state }: EditBase): PairingRecord[] =>
  state.pairings.filter(({ peer }) => peer.machineId === machineId);

/** Everything known here under this id, whether it is trusted now or a pin contradicts it. */
const knownAs = (machineId: string, { state }: EditBase): Machine | undefined =>
  state.machines.get(machineId) ?? state.suspended.find((machine) => machine.machineId === machineId);

const planStore = (record: PairingRecord, base: EditBase): Plan<PairingOutcome> => {
  const older = recordsOf(record.peer.machineId, base).filter(
    ({ id, stage }) => id !== record.id && stage === 'pending',
  );
  return [{}, [...older.map(({ id }) => drop(id)), put(record)]];
};

/** The name is settled here: a proposal that is taken gets a number, unless its bearer is replaced. */
const trustOf = ({ peer, wish }: PairingRecord, base: EditBase): NewTrust => {
  const { machineId, certificate } = peer;
  const replaced = wish.replaces === undefined ? undefined : knownAs(wish.replaces, base);
  const known = (knownAs(machineId, base) ?? base.state.unmetPins.get(fingerprintOf(certificate)))?.name;
  const wanted = wish.name ?? known ?? replaced?.name ?? peer.name;
  const isSettled = wanted === known || wanted === replaced?.name;
  return {
    certificate,
    name: isSettled ? wanted : freeName(localNameOf(wanted), base, machineId),
    ...(wish.grant === undefined ? {} : { grant: wish.grant }),
    ...(replaced === undefined ? {} : { replaces: replaced.machineId }),
  };
};

const planPairedTrust = (record: PairingRecord, base: EditBase): Plan<PairingOutcome> => {
  const { machineId } = record.peer;
  const records = recordsOf(machineId, base);
  // A trust that is not settled is none that was there before.
  const made = records.find(({ stage }) => stage === 'trusted');
  const hadTrust = made?.hadTrust ?? knownAs(machineId, base) !== undefined;
  const [, changes] = planTrust(trustOf(record, base), base);
  const others = records.filter(({ id }) => id !== record.id);
  return [{ hadTrust }, [...changes, ...others.map(({ id }) => drop(id)), put({ ...record, hadTrust })]];
};

const planUntrust = (id: string, machineId: string, base: EditBase): Plan<PairingOutcome> => {
  const [, removal] = knownAs(machineId, base) === undefined ? [undefined, []] : planRemoval(machineId, base);
  return [{}, [...removal, drop(id)]];
};

/** What an effect of a pairing does to `trust.db`: one transaction. @throws as `planTrust`. */
export const planPairing = (effect: PairingEffect, base: EditBase): Plan<PairingOutcome> => {
  switch (effect.kind) {
    case 'store':
      return planStore(effect.record, base);
    case 'trust':
      return planPairedTrust(effect.record, base);
    case 'forget':
      return [{}, [drop(effect.id)]];
    case 'untrust':
      return planUntrust(effect.id, effect.machineId, base);
  }
};
