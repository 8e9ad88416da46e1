import { LoopsyError } from '../../protocol/errors.ts';
import { parseFields } from '../../protocol/record.ts';
import type { Budget, Entry, StoreOverBudget } from '../../store/store.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import type { Call } from '../edge/call.ts';

/** Where leases lie among the store's entries, and whose bytes they are. */
export const LEASES = 'lease/';
/** The accounts of peers and named keys. */
const GUESTS = `${LEASES}guest/`;
/** Names and owners of thousands: for all, for all guests together, and for each of them. */
const BUDGET = { all: 8 * 1_048_576, guests: 7 * 1_048_576, each: 524_288 };

/** What is stored of a lease: who holds it, and since which commit; in the first record that is the record's own. */
export interface Held {
  readonly owner: string;
  readonly fence?: number;
}

/** What a store says of who takes a lease. */
export const heldIn = ({ value }: Entry): Held => parseFields(value) as unknown as Held;

/** The number of this hold. */
export const fenceOf = (entry: Entry): number => heldIn(entry).fence ?? entry.revision;

/** A caller, and for a peer whom it asks for: two agents of one machine are two. */
export const ownerOf = ({ caller, onBehalfOf }: Call): string => {
  const name = callerName(caller);
  const isOne = caller.kind !== 'peer' || onBehalfOf === undefined || onBehalfOf === 'owner';
  return isOne ? name : `${name} ${onBehalfOf.slice(0, 100)}`;
};

/** The caller of this node by whom an owner came: `owner`, `agent:claude`, `key:ci`, `peer:<machineId>`. */
export const callerIn = (owner: string): string => (owner.startsWith('peer:') ? (owner.split(' ')[0] ?? '') : owner);

/** Whose bytes a caller's leases are, and how many there may be. What is not a guest's is never a guest's to take. */
export const roomOf = (caller: Caller): { account: string; within: Budget[] } => {
  const all = { accounts: LEASES, maxBytes: BUDGET.all };
  if (caller.kind !== 'peer' && caller.kind !== 'key') return { account: `${LEASES}here`, within: [all] };
  // Closed by a slash: no name is the beginning of another.
  const account = `${GUESTS}${callerName(caller)}/`;
  return {
    account,
    within: [{ accounts: account, maxBytes: BUDGET.each }, { accounts: GUESTS, maxBytes: BUDGET.guests }, all],
  };
};

/** Why there is no room. */
export const noRoom = ({ budget: { accounts } }: StoreOverBudget): LoopsyError => {
  const whose = accounts === LEASES ? 'all' : accounts === GUESTS ? 'all peers and keys together' : 'this peer or key';
  return new LoopsyError('context_full', {
    message: `too many leases are held there by ${whose}`,
    hint: '`loopsy context lease list` shows them; each ends with its time, and is given back by `lease release`',
  });
};

/** Who made the name may be another machine: only what a shell takes as one plain word is shown to be typed. */
export const endWords = (name: string): string =>
  `\`loopsy context lease release ${/^[\w./:@][\w./:@-]*$/.test(name) ? name : '<name>'} --force\``;
