import type { Clock } from '../kernel/clock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { otherRole, tokenOf, wordOf, type Word } from './pairing-crypto.ts';
import {
  COMPARE,
  isOver,
  resumedAt,
  step,
  wordsToSend,
  type Decision,
  type DecisionEvent,
  type Stage,
} from './pairing-machine.ts';
import { MESSAGES, readFields, write, type Message } from './pairing-messages.ts';
import { checkWish, type PairingFacts, type PairingRecord, type Wish } from './pairing-record.ts';

/** What the driver does on disk, one at a time; each is one transaction, and counts once it is synced. */
export type PairingEffect =
  /** Puts the record; other *pending* records of the same machine go. */
  | { readonly kind: 'store'; readonly record: PairingRecord }
  /** Pins `record.peer` as `record.wish` says and puts the record; every other record of the same machine goes. */
  | { readonly kind: 'trust'; readonly record: PairingRecord }
  /** Deletes the record, where there is one. */
  | { readonly kind: 'forget'; readonly id: string }
  /** Ends the trust in the machine and deletes the record. */
  | { readonly kind: 'untrust'; readonly id: string; readonly machineId: string };

/** What a party begins with, beside its facts. */
export interface PartyParts {
  readonly clock: Clock;
  /** The number to be compared; not known any more after a restart. */
  readonly sas?: string;
  readonly decision?: Decision;
  readonly wish?: Wish;
  readonly hadTrust?: boolean;
}

const PEOPLE_MS = 300_000;
const SETTLE_MS = 24 * 3_600_000;

/**
 * One side of a pairing from the moment at which both screens show the number: the person's answer, the other side's
 * tokens, and what has to be on disk before which of them. Host and joiner are alike here.
 */
export class PairingParty {
  readonly facts: PairingFacts;
  readonly sas: string | undefined;
  readonly #clock: Clock;
  readonly #compareUntilMs: number;
  readonly #listeners = new Set<() => void>();
  #decision: Decision;
  #wish: Wish;
  #hadTrust: boolean;

  constructor(facts: PairingFacts, { clock, sas, decision = COMPARE, wish = {}, hadTrust = false }: PartyParts) {
    this.facts = facts;
    this.sas = sas;
    this.#clock = clock;
    this.#compareUntilMs = clock.monotonicMs() + PEOPLE_MS;
    this.#decision = decision;
    this.#wish = wish;
    this.#hadTrust = hadTrust;
  }

  /** Goes on after a restart. What was in memory only is forgotten: without a record there is nothing to resume. */
  static resume({ stage, wish, hadTrust, ...facts }: PairingRecord, clock: Clock): PairingParty {
    return new PairingParty(facts, { clock, wish, hadTrust, decision: resumedAt(stage) });
  }

  /** Plain values: all that a party knows beside its facts and its wish. */
  get decision(): Decision {
    return this.#decision;
  }

  get stage(): Stage {
    return this.#decision.stage;
  }

  /** True once the person here said yes, even where it is not stored yet. */
  get saidYes(): boolean {
    return this.#decision.said === 'yes';
  }

  get isOver(): boolean {
    return isOver(this.#decision);
  }

  /** How long the present stage can last, ms. */
  get remainingMs(): number {
    if (this.isOver) return 0;
    if (this.stage === 'compare') return Math.max(0, this.#compareUntilMs - this.#clock.monotonicMs());
    const now = this.#clock.now();
    // A clock that was set back tells nothing: the time is over.
    return now < this.facts.startedAt ? 0 : Math.max(0, this.facts.startedAt + SETTLE_MS - now);
  }

  /**
   * The person says yes: trust follows when the other side's yes is there too. `sas`, where given, has to be the one
   * that is shown. A repeat changes nothing, the wish neither.
   * @throws {LoopsyError} `conflict` for another number; `pair_refused` or `pair_expired` where it is over;
   *   `invalid_request` for a wish that can't be kept.
   */
  confirm(wish: Wish, sas?: string): void {
    this.tick();
    if (sas !== undefined && this.sas !== undefined && sas.replaceAll(/\s/g, '') !== this.sas) {
      throw new LoopsyError('conflict', {
        message: 'this is not the number that is shown here',
        hint: 'compare the two screens: if they differ, say no',
      });
    }
    if (this.stage === 'refused') throw new LoopsyError('pair_refused');
    if (this.stage === 'expired') throw new LoopsyError('pair_expired');
    if (this.saidYes) return;
    checkWish(wish);
    this.#wish = wish;
    this.#step('say-yes');
  }

  /** The person says no. @throws {LoopsyError} `conflict` after a yes: it may be on its way, and can't be unsaid. */
  refuse(): void {
    this.tick();
    const remove = `\`loopsy peers remove ${this.facts.peer.machineId.slice(0, 8)}\``;
    if (this.stage === 'settled')
      throw new LoopsyError('conflict', { message: 'you are paired already', hint: `${remove} ends the trust` });
    if (this.saidYes && !this.isOver) {
      throw new LoopsyError('conflict', {
        message: 'you said yes, and that may have arrived: it can not be unsaid',
        hint: `${remove} ends the trust once it is there`,
      });
    }
    this.#step('say-no');
  }

  /** Takes in the other side's tokens; those that are none of its are ignored. @returns the words that they said. */
  hear(tokens: readonly Uint8Array[]): Word[] {
    this.tick();
    const { decideKey, role } = this.facts;
    const words = tokens.map((token) => wordOf(decideKey, otherRole(role), token)).filter((word) => word !== undefined);
    for (const word of words) this.#step(word);
    return words;
  }

  /** The other machine's key was seen on a link, as one that trusts this machine: proof enough that it is settled. */
  contact(): void {
    this.#step('contact');
  }

  /** Ends what is late. Call it when `remainingMs` is over, and it costs nothing at any other time. */
  tick(): void {
    if (this.remainingMs === 0 && !this.isOver) this.#step('late');
  }

  /** What is to be carried out now. The same until it is `done` or `failed`. */
  get effect(): PairingEffect | undefined {
    const { facts } = this;
    switch (this.#decision.due?.effect) {
      case undefined:
        return undefined;
      case 'store':
        return { kind: 'store', record: this.#record('pending') };
      case 'trust':
        return { kind: 'trust', record: this.#record('trusted') };
      case 'forget':
        return { kind: 'forget', id: facts.id };
      case 'untrust':
        if (this.#hadTrust) return { kind: 'forget', id: facts.id };
        return { kind: 'untrust', id: facts.id, machineId: facts.peer.machineId };
    }
  }

  /**
   * The effect is on disk. `hadTrust`, after a trust: the key was trusted before this pairing, and the record that was
   * written says so (where the record on disk was `trusted` already, what that one said).
   */
  done({ hadTrust = this.#hadTrust } = {}): void {
    this.#hadTrust = hadTrust;
    this.#step('done');
  }

  /** The effect is not, or perhaps not, on disk. A yes that could not be stored was never said; `retry` tries the rest. */
  failed(): void {
    this.#step('failed');
  }

  /** Tries again what failed. */
  retry(): void {
    this.#step('again');
  }

  /** M7: what the joiner sends, again and again. */
  request(): Message {
    return { attempt: this.facts.attempt, tokens: this.#tokens() };
  }

  /** M8: what the host answers. */
  reply(): Message {
    return { tokens: this.#tokens() };
  }

  /** The joiner reads M8. @throws {LoopsyError} `invalid_request` where it is none; the state stays. */
  takeReply(body: unknown): void {
    this.hear(readFields(body, MESSAGES.settled).tokens);
  }

  /**
   * True where the host should answer at once one who said `words`: there is something that this one may not know, or
   * nothing will come. Else it waits for `onChange`, up to 25 s.
   */
  hasNewsFor(words: readonly Word[]): boolean {
    const own = wordsToSend(this.#decision);
    return this.isOver || own.includes('trusts') || (own.includes('yes') && !words.includes('trusts'));
  }

  /** Calls `listener` after each change. @returns the way to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tokens(): string[] {
    const { decideKey, role } = this.facts;
    return wordsToSend(this.#decision).map((word) => write(tokenOf(decideKey, role, word)));
  }

  #record(stage: 'pending' | 'trusted'): PairingRecord {
    return { ...this.facts, stage, wish: this.#wish, hadTrust: this.#hadTrust };
  }

  #step(event: DecisionEvent): void {
    const before = this.#decision;
    this.#decision = step(before, event);
    if (this.#decision === before) return;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** The host reads M7: which attempt it is about, and its tokens. @throws {LoopsyError} `invalid_request`. */
export const readSettle = (body: unknown): { readonly attempt: string; readonly tokens: readonly Buffer[] } => {
  const { attempt, tokens } = readFields(body, MESSAGES.settle);
  return { attempt: write(attempt), tokens };
};

/**
 * How long the joiner waits before it asks again. A reply that took its time is followed by the next question at
 * once: the host holds those that have no news.
 */
export const pollDelayMs = ({ failures, heldMs }: { readonly failures: number; readonly heldMs: number }): number =>
  failures === 0 ? Math.max(0, 1000 - heldMs) : Math.min(30_000, 1000 * 2 ** Math.min(failures, 5));
