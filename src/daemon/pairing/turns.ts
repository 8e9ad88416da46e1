import { randomBytes } from 'node:crypto';

import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import type { PairRole } from '../../protocol/pairing.ts';
import type { HostPairing } from '../../trust/pairing-host.ts';
import type { Joining } from './joining.ts';
import type { Driven } from './parties.ts';

/** What the person here chose when it began. */
export type Choices = Pick<ParsedInputOf<'pair.start'>, 'name' | 'grant' | 'folders'>;

/** One pairing, from its code or the entry of it on. */
interface TurnOf<Role extends PairRole, Pairing> {
  readonly id: string;
  readonly role: Role;
  readonly pairing: Pairing;
  readonly choices: Choices;
  readonly invited: boolean;
  /** There once both screens show the number. */
  driven?: Driven;
  endedAtMs?: number;
}

/** This machine shows a code. */
export type HostTurn = TurnOf<'host', HostPairing>;
/** It enters one. */
export type JoinerTurn = TurnOf<'joiner', Joining>;
/** Either. */
export type Turn = HostTurn | JoinerTurn;

/** Those that wait for the other side's word are no longer in the way of the next; the oldest are forgotten. */
const MAX_TURNS = 64;

/** Names a pairing to its command. */
export const newTurnId = (): string => randomBytes(8).toString('hex');

/** What of a pairing was so from its beginning. */
export const factsOf = (turn: Turn): Pick<OutputOf<'pair.status'>, 'id' | 'invited' | 'chosen' | 'at'> => {
  const { id, invited, choices: chosen } = turn;
  if (turn.role === 'host') return { id, invited, chosen };
  const { host: address, port } = turn.pairing.place;
  return { id, invited, chosen, at: { address, port } };
};

/** The pairings of this start of the node, until their end was told. */
export class Turns {
  /** In the order in which they were begun. */
  #all: readonly Turn[] = [];

  get all(): readonly Turn[] {
    return this.#all;
  }

  get host(): HostTurn | undefined {
    return this.#all.findLast((turn) => turn.role === 'host');
  }

  get joiner(): JoinerTurn | undefined {
    return this.#all.findLast((turn) => turn.role === 'joiner');
  }

  begin(turn: Turn): void {
    this.#all = [...this.#all, turn].slice(-MAX_TURNS);
  }

  /** The one that is named; without an id, the one of that role, or of any, that was begun last. */
  find({ id, role }: { id?: string | undefined; role?: PairRole | undefined }): Turn | undefined {
    if (id !== undefined) return this.#all.find((turn) => turn.id === id);
    return this.#all.findLast((turn) => role === undefined || turn.role === role);
  }

  forget(isOver: (turn: Turn) => boolean): void {
    this.#all = this.#all.filter((turn) => !isOver(turn));
  }
}
