import { LoopsyError } from '../../protocol/errors.ts';
import { localNameOf, type PeerMachine } from '../../trust/pairing-hello.ts';
import type { PairPeer, PairStatus } from '../../protocol/pairing.ts';
import type { HostPairing } from '../../trust/pairing-host.ts';
import type { PairingParty } from '../../trust/pairing-party.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { Joining } from './joining.ts';
import type { PartyDriver } from './party-driver.ts';

/** What a person sees of a pairing, without what is the same for all. */
export type View = Omit<PairStatus, 'revision' | 'role' | 'id' | 'chosen' | 'invited' | 'at'>;

/** Nothing was begun. */
export const IDLE: View = { active: false, state: 'idle' };

/** Why a pairing is over, for the person. */
const failed = (error: LoopsyError): View => ({
  active: false,
  state: 'failed',
  reason: error.message,
  error: error.error,
  ...(error.hint === undefined ? {} : { hint: error.hint }),
});

/** The machineId of another machine that has the name which this one would get. */
export const clashOf = (
  trust: TrustBook,
  peer: PeerMachine,
  name = localNameOf(peer.name),
): { name: string; nodeId: string } | undefined => {
  const other = trust.machines().find((machine) => machine.name === name && machine.machineId !== peer.machineId);
  return other === undefined ? undefined : { name, nodeId: other.machineId };
};

const freeNameOf = (trust: TrustBook, peer: PeerMachine, wanted: string | undefined): string =>
  trust.freeName(wanted ?? localNameOf(peer.name), peer.machineId);

/** The other machine, as this one knows it, or will call it where the person here wants it called `wanted`. */
export const peerOf = ({ facts: { peer, place } }: PairingParty, trust: TrustBook, wanted?: string): PairPeer => {
  const known = trust.machine(peer.machineId);
  const clash = known === undefined || wanted !== undefined ? clashOf(trust, peer, wanted) : undefined;
  return {
    nodeId: peer.machineId,
    name: wanted === undefined && known !== undefined ? known.name : freeNameOf(trust, peer, wanted),
    proposedName: peer.name,
    port: peer.port,
    version: peer.version,
    trusted: known !== undefined,
    ...(place === undefined ? {} : { address: place.host }),
    ...(clash === undefined ? {} : { clash }),
  };
};

const refusal = ({ party, lived }: PartyDriver, name: string): LoopsyError => {
  if (party.stage === 'refused') {
    if (party.decision.said !== 'no') return new LoopsyError('pair_refused');
    return new LoopsyError('pair_refused', {
      message: 'you said no: nothing was trusted',
      hint: '`loopsy pair` begins anew',
    });
  }
  if (lived !== 'trusted') {
    const late = lived === 'pending' ? `${name} did not say yes` : 'nobody said yes';
    return new LoopsyError('pair_expired', { message: `${late} in time: nothing was trusted` });
  }
  return new LoopsyError('pair_expired', {
    message: `${name} was not heard of for a day: the trust in it was taken back`,
    hint: 'run `loopsy pair` again on both machines',
  });
};

/** A pairing whose number is on both screens. */
export const partyView = (
  driver: PartyDriver,
  facts: { trust: TrustBook; now: number; wanted?: string | undefined; trouble?: string | undefined },
): View => {
  const { party } = driver;
  const { trust, now } = facts;
  const isMade = party.stage === 'trusted' || party.stage === 'settled';
  const peer = peerOf(party, trust, isMade ? undefined : facts.wanted);
  const trouble = driver.trouble ?? facts.trouble;
  const common = {
    peer,
    ...(party.sas === undefined ? {} : { sas: party.sas }),
    ...(trouble === undefined ? {} : { trouble }),
  };
  const open = { ...common, active: true, expiresAt: Math.round(now + party.remainingMs) };
  switch (party.stage) {
    case 'compare':
      return { ...open, state: party.saidYes ? 'waiting-peer' : 'confirm' };
    case 'pending':
      return { ...open, state: 'waiting-peer' };
    case 'trusted':
      return { ...open, state: 'waiting-peer', bothSaidYes: true };
    case 'settled':
      return { peer, active: false, state: 'completed', bothSaidYes: true };
    case 'refused':
    case 'expired':
      return { peer, ...failed(refusal(driver, peer.name)) };
  }
};

/** A joiner before the number. */
export const joinerView = ({ pairing, trouble }: Pick<Joining, 'pairing' | 'trouble'>): View => {
  if (pairing.state === 'ended') return failed(pairing.failure ?? new LoopsyError('pair_expired'));
  return { active: true, state: 'exchanging', ...(trouble === undefined ? {} : { trouble }) };
};

/** A host before the number. */
export const hostView = ({ status }: HostPairing, now: number): View => {
  const { state, code, expiresInMs, killedBy, trouble, failure } = status;
  if (state === 'ended') return failed(failure ?? new LoopsyError('pair_expired'));
  return {
    active: true,
    state: state === 'open' ? 'waiting' : 'exchanging',
    expiresAt: Math.round(now + expiresInMs),
    ...(code === undefined ? {} : { inviteCode: code }),
    ...(killedBy.length === 0 ? {} : { killedBy: [...killedBy] }),
    ...(trouble === undefined ? {} : { trouble }),
  };
};
