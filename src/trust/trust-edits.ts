import { LoopsyError } from '../protocol/errors.ts';
import type { Grant, GrantInput } from '../protocol/grants.ts';
import { nodeIdSchema, peerNameSchema } from '../protocol/ids.ts';
import { uniqueName } from '../protocol/names.ts';
import { readMachineCertificate } from './certificates.ts';
import { grantFromInput, grantOfLevel, NO_GRANT } from './grants.ts';
import { KEYS, machineOf, WRITE, type Machine } from './trust-records.ts';
import type { TrustConfig, TrustState, UnmetPin } from './trust-state.ts';

const MAX_MACHINES = 1000;
const MAX_GONE = 1000;
/** The fewest characters of an id that name a node. */
export const PREFIX_LENGTH = 4;

/** One change of the store. */
export type TrustRecordChange = { readonly put: string; readonly value: string } | { readonly delete: string };

/** What an edit results in once it is stored, and the changes that store it. */
export type Plan<Result> = readonly [result: Result, changes: readonly TrustRecordChange[]];

/** What an edit is planned on. */
export interface EditBase {
  readonly state: TrustState;
  readonly config: TrustConfig;
  readonly own: Machine;
  /** What means this node itself: no peer is called so. */
  readonly ownNames: readonly string[];
  /** Wall time, ms since 1970. */
  readonly now: number;
}

/** The machine that a person now trusts. */
export interface NewTrust {
  /** DER, as the machine presented it. */
  readonly certificate: Uint8Array;
  /** Default: the name it has here, or the first characters of its id. */
  readonly name?: string;
  /** Default: what it has here, or all of *full*. */
  readonly grant?: GrantInput;
  /** The machineId of the one whose place it takes, in the same transaction: only by a person's choice. */
  readonly replaces?: string;
}

const knownNames = (state: TrustState): string[] =>
  [...state.machines.values(), ...state.unmetPins.values()].map(({ name }) => name).sort();

const shownNames = (names: readonly string[]): string => {
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown}, and ${names.length - 20} more` : shown;
};

/** `peer_not_found`, with the names that are known. */
export const peerNotFound = (reference: string, known: readonly string[]): LoopsyError =>
  new LoopsyError('peer_not_found', {
    message: `no peer is called "${reference}"`,
    hint: known.length === 0 ? 'no peer is trusted here yet: `loopsy pair`' : `known peers: ${shownNames(known)}`,
    details: { peer: reference, known: known.slice(0, 100) },
  });

/** One that a reference may mean. */
export interface PeerMatch {
  readonly name: string;
  /** Missing where only an address or a fingerprint is known. */
  readonly nodeId?: string | undefined;
}

/** `invalid_request`, with the peers that a reference may mean. */
export const ambiguousPeer = (reference: string, matches: readonly PeerMatch[]): LoopsyError => {
  const shown = matches.map(({ name, nodeId }) => (nodeId === undefined ? name : `${name} (${nodeId})`));
  return new LoopsyError('invalid_request', {
    message: `"${reference}" can mean ${matches.length} peers: ${shownNames(shown)}`,
    hint: 'use the name, or more characters of the id',
    details: { peer: reference, matches: matches.slice(0, 100).map(({ name, nodeId }) => nodeId ?? name) },
  });
};

const byIdPrefix = (machines: readonly Machine[], reference: string): Machine | undefined => {
  if (reference.length < PREFIX_LENGTH) return undefined;
  const matches = machines.filter(({ machineId }) => machineId.startsWith(reference));
  if (matches.length > 1) {
    throw ambiguousPeer(
      reference,
      matches.map(({ name, machineId }) => ({ name, nodeId: machineId })),
    );
  }
  return matches[0];
};

/**
 * The trusted machine that a person means: by name, or by the first characters (≥ 4) of its id.
 * @throws {LoopsyError} `peer_not_found` with the known ones; `invalid_request` with the matches of an ambiguous prefix.
 */
export const resolveMachine = (reference: string, state: TrustState): Machine => {
  const wanted = reference.toLowerCase();
  const machines = [...state.machines.values()];
  const found = machines.find(({ name }) => name === wanted) ?? byIdPrefix(machines, wanted);
  if (found === undefined) throw peerNotFound(reference, knownNames(state));
  return found;
};

/** As `resolveMachine`, among all that can be changed: pins that were not met and machines that a pin contradicts too. */
const resolveAny = (reference: string, state: TrustState): Machine | UnmetPin => {
  const wanted = reference.toLowerCase();
  const pin = [...state.unmetPins.values()].find(({ name }) => name === wanted);
  return pin ?? byIdPrefix([...state.suspended], wanted) ?? resolveMachine(reference, state);
};

/** The grant that a person's words mean, with the peers that they name found among the trusted ones. */
export const resolveGrant = (input: GrantInput, { state, now }: EditBase, reach: Grant['reach']): Grant =>
  grantFromInput(input, {
    now,
    reach,
    // A full id may be that of a session, which has no pin of its own.
    resolvePeer: (reference) =>
      nodeIdSchema.safeParse(reference).success ? reference : resolveMachine(reference, state).machineId,
  });

/** `conflict`: a name that means this machine is none of a peer. */
export const ownNameError = (name: string, free: string): LoopsyError =>
  new LoopsyError('conflict', {
    message: `"${name}" means this machine itself, so that no peer can have this name`,
    hint: `choose another name, e.g. ${free}`,
    details: { field: 'name', name },
  });

/** Where names are looked for. */
type NameBase = Pick<EditBase, 'state' | 'ownNames'>;

const checkName = (name: string, holder: string, base: NameBase): void => {
  const { state, ownNames } = base;
  const looksLikeId = nodeIdSchema.safeParse(name).success;
  if (!peerNameSchema.safeParse(name).success || looksLikeId) {
    throw new LoopsyError('invalid_request', {
      message: `"${name}" can not be the name of a peer`,
      hint: 'a name has 1–63 of a–z, 0–9 and -, and does not look like an id',
      details: { field: 'name' },
    });
  }
  const all = [...state.machines.values(), ...state.suspended, ...state.unmetPins.values()];
  const before = all.find((one) => one.fingerprint === holder)?.name;
  // One that it had before stays its own, whatever this machine was called since.
  if (ownNames.includes(name) && before !== name) throw ownNameError(name, freeName(name, base));
  const other = all.find((one) => one.name === name && one.fingerprint !== holder);
  if (other === undefined) return;
  throw new LoopsyError('conflict', {
    message: `another peer is called ${name} already (${other.fingerprint})`,
    hint: `choose another name, e.g. ${freeName(name, base)}, or remove it first: \`loopsy peers remove ${name}\``,
    details: { field: 'name', name },
  });
};

/**
 * The proposal, or with the first number that makes it unique here: `kai`, `kai-2`, … `machineId` is the one who is to
 * have it: what it is called already is free for it.
 */
export const freeName = (proposal: string, { state, ownNames }: NameBase, machineId?: string): string => {
  const others = [...state.machines.values(), ...state.suspended].filter((machine) => machine.machineId !== machineId);
  const taken = new Set([...ownNames, ...[...others, ...state.unmetPins.values()].map(({ name }) => name)]);
  return uniqueName(proposal, (name) => taken.has(name));
};

const removal = (machine: Machine | UnmetPin, { state, config, now }: EditBase): TrustRecordChange[] => {
  const { fingerprint } = machine;
  const met = 'machineId' in machine ? machine : undefined;
  const blocksPin = Object.values(config.pinnedCerts).some(
    (pin) => pin.replaceAll(':', '').toLowerCase() === fingerprint,
  );
  const oldest = state.goneMachines.filter((gone) => !gone.blocksPin).sort((a, b) => a.removedAt - b.removedAt);
  const surplus = oldest.slice(0, Math.max(0, state.goneMachines.length + 1 - MAX_GONE));
  return [
    ...surplus.map((gone) => ({ delete: KEYS.goneMachine + gone.fingerprint })),
    ...(met === undefined ? [] : [{ delete: KEYS.machine + met.machineId }]),
    { delete: KEYS.metPin + fingerprint },
    { delete: KEYS.pinGrant + fingerprint },
    {
      put: KEYS.goneMachine + fingerprint,
      value: WRITE.goneMachine({ fingerprint, machine: met, blocksPin, removedAt: now }),
    },
  ];
};

/** What a certificate says of the machine to be trusted; it has no name and no grant yet. */
const readNewMachine = (certificate: Uint8Array, own: Machine): Machine => {
  const read = readMachineCertificate(certificate);
  const machine = read && machineOf(read.x509.raw, { name: '', grant: NO_GRANT, source: 'paired' });
  if (machine === undefined)
    throw new LoopsyError('invalid_request', { message: 'this is not the certificate of a loopsy machine' });
  if (machine.machineId === own.machineId)
    throw new LoopsyError('invalid_request', { message: 'this is this machine itself' });
  return machine;
};

/**
 * Trusts a machine. One that is trusted already keeps what `trust` does not name.
 * @throws {LoopsyError} `invalid_request` for what is no machine's certificate, or this machine's own; `conflict` where
 * the name is another's, or too many are trusted.
 */
export const planTrust = (trust: NewTrust, base: EditBase): Plan<Machine> => {
  const { state, now } = base;
  const fresh = readNewMachine(trust.certificate, base.own);
  const { machineId, fingerprint } = fresh;
  const before = state.machines.get(machineId) ?? state.suspended.find((machine) => machine.machineId === machineId);
  const known = before ?? state.unmetPins.get(fingerprint);
  const replaced = trust.replaces === undefined ? undefined : resolveAny(trust.replaces, state);
  const dropped = replaced?.fingerprint === fingerprint ? undefined : replaced;
  const name = trust.name ?? known?.name ?? freeName(machineId.slice(0, 8), base);
  if (dropped?.name !== name) checkName(name, fingerprint, base);
  if (before === undefined && state.machines.size >= MAX_MACHINES) {
    throw new LoopsyError('conflict', {
      message: `${MAX_MACHINES} peers are trusted already`,
      hint: 'remove some first',
    });
  }
  const grant =
    trust.grant === undefined ? (known?.grant ?? grantOfLevel('full')) : resolveGrant(trust.grant, base, []);
  const machine: Machine = { ...fresh, name, grant, addedAt: before?.addedAt ?? now };
  const changes = [
    ...(dropped === undefined ? [] : removal(dropped, base)),
    { delete: KEYS.goneMachine + fingerprint },
    { put: KEYS.machine + machineId, value: WRITE.machine(machine) },
  ];
  return [machine, changes];
};

/** Removes a machine, or a pin that was never met; it is told that it was. */
export const planRemoval = (reference: string, base: EditBase): Plan<Machine | UnmetPin> => {
  const found = resolveAny(reference, base.state);
  return [found, removal(found, base)];
};

/** Changes a machine's local name. */
export const planRename = (reference: string, name: string, base: EditBase): Plan<Machine> => {
  const found = resolveMachine(reference, base.state);
  if (found.source === 'config') {
    const hint = `change tls.pinnedCerts.${found.name} there`;
    throw new LoopsyError('invalid_request', { message: `${found.name} has its name from config.yaml`, hint });
  }
  checkName(name, found.fingerprint, base);
  const renamed = { ...found, name };
  return [renamed, [{ put: KEYS.machine + found.machineId, value: WRITE.machine(renamed) }]];
};

/** Sets what a machine may do here. */
export const planMachineGrant = (reference: string, input: GrantInput, base: EditBase): Plan<Machine | UnmetPin> => {
  const found = resolveAny(reference, base.state);
  const grant = resolveGrant(input, base, []);
  if ('machineId' in found && found.source === 'paired') {
    const changed = { ...found, grant };
    return [changed, [{ put: KEYS.machine + found.machineId, value: WRITE.machine(changed) }]];
  }
  return [{ ...found, grant }, [{ put: KEYS.pinGrant + found.fingerprint, value: WRITE.grant(grant) }]];
};
