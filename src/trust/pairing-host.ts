import { randomBytes, randomInt } from 'node:crypto';

import type { Clock } from '../kernel/clock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Attempt, Attempts } from './pairing-attempts.ts';
import type { OwnMachine } from './pairing-hello.ts';
import {
  blameOther,
  cancelledHere,
  checkVersion,
  MESSAGES,
  readFields,
  suspect,
  write,
  type Message,
} from './pairing-messages.ts';
import { openCode, type CodeKind, type OpenCode } from './pairing-open-code.ts';
import { PairingParty } from './pairing-party.ts';
import { factsOf, greetJoiner, judgeProof, openReveal, type Greeting, type Prove } from './pairing-proof.ts';
import { checkWish, type Wish } from './pairing-record.ts';
import type { RandomBytes, Spake2 } from './spake2.ts';
import { sourceOf, Turnstile } from './turnstile.ts';

/** What a host is made of. */
export interface HostOptions {
  readonly spake2: Spake2;
  readonly own: OwnMachine;
  readonly clock: Clock;
  /** There: an invitation is shown in place of digits, and this is the host's yes. */
  readonly invitation?: Wish;
  /** True while this node has itself joined another and its person compares: then nobody proves a code here. */
  readonly isJoining?: () => boolean;
  /** For tests. */
  readonly random?: RandomBytes;
  readonly below?: (limit: number) => number;
}

/** What the waiting command shows. */
export interface HostStatus {
  /** `proved`: the code is spent, the joiner's last message is missing. `compare`: the party says more. */
  readonly state: 'open' | 'proved' | 'compare' | 'ended';
  /** What is to be entered on the other machine; while open. */
  readonly code?: string;
  readonly expiresInMs: number;
  /** There once strangers killed the first code: from where they guessed. */
  readonly killedBy: readonly string[];
  /** Who can't pair with this machine and tried to, in words; while open. */
  readonly trouble?: string | undefined;
  /** Why it ended, for the person. */
  readonly failure?: LoopsyError;
}

interface Open extends OpenCode {
  readonly at: 'open';
}

/** What is answered to a repeat of the same bytes. */
interface Answered {
  readonly prove: Prove;
  readonly proved: Message;
}

interface Proved extends Answered {
  readonly at: 'proved';
  readonly greeting: Greeting;
  /** Of the one who proved, as the socket names it. */
  readonly address: string | undefined;
  readonly endsAtMs: number;
}

interface Compare extends Answered {
  readonly at: 'compare';
  readonly party: PairingParty;
  readonly reveal: Buffer;
}

interface Ended {
  readonly at: 'ended';
  readonly failure: LoopsyError;
  /** What strangers hear from then on. */
  readonly answer: LoopsyError;
}

type State = Open | Proved | Compare | Ended;

const REVEAL_MS = 10_000;
const AFTER_WRONG_MS = 10_000;
const MAX_NAMED = 16;

const busy = (): LoopsyError => new LoopsyError('pair_busy');
const crossed = (): LoopsyError =>
  new LoopsyError('pair_busy', {
    message: 'both machines joined each other: the pairing goes on where the code was entered here',
    hint: 'compare the numbers there',
  });
const waits = (): LoopsyError =>
  new LoopsyError('rate_limited', { message: 'this proof waits for its turn', details: { retryAfterMs: 1000 } });
const replaced = (): LoopsyError =>
  new LoopsyError('pair_expired', {
    message: 'after too many wrong codes that one is no longer valid',
    hint: 'enter the new code that the other machine shows',
    details: { reason: 'replaced' },
  });

/** The host of one pairing, from its code to the number on both screens; what follows is its party's. */
export class HostPairing {
  readonly #options: HostOptions;
  readonly #random: RandomBytes;
  readonly #initiations: Turnstile;
  readonly #proofs: Turnstile;
  /** Attempts whose proof waits for its turn. */
  readonly #waiting = new Set<string>();
  readonly #guessedFrom = new Set<string>();
  #killedBy: readonly string[] = [];
  #trouble: string | undefined;
  #state: State;

  /** Makes the code: two multiplications, 6 ms. @throws {LoopsyError} `invalid_request` for a wish that can't be kept. */
  constructor(options: HostOptions) {
    const { clock, below: random = (limit: number) => randomInt(limit) } = options;
    if (options.invitation !== undefined) checkWish(options.invitation);
    this.#options = options;
    this.#random = options.random ?? randomBytes;
    const roomAtMs = (): number => (this.#state.at === 'open' ? this.#state.attempts.roomAtMs : 0);
    this.#initiations = new Turnstile({ clock, spacingMs: 50, sourceSpacingMs: 500, roomAtMs, random });
    this.#proofs = new Turnstile({ clock, spacingMs: 200, sourceSpacingMs: 1000, random });
    const { machineId } = options.own;
    const kind: CodeKind =
      options.invitation === undefined
        ? { kind: 'short', below: options.below }
        : { kind: 'invitation', machineId, random: this.#random };
    this.#state = { at: 'open', ...openCode(kind, options) };
  }

  get status(): HostStatus {
    this.tick();
    const state = this.#state;
    const common = { state: state.at, expiresInMs: this.#remainingMs, killedBy: this.#killedBy };
    if (state.at === 'open') return { ...common, code: state.text, trouble: this.#trouble };
    return state.at === 'ended' ? { ...common, failure: state.failure } : common;
  }

  /** There once both screens show the number. */
  get party(): PairingParty | undefined {
    return this.#state.at === 'compare' ? this.#state.party : undefined;
  }

  /** Of who proved the code, as the socket named it, until the pairing is over. */
  get address(): string | undefined {
    if (this.#state.at === 'proved') return this.#state.address;
    return this.party?.isOver === false ? this.party.facts.place?.host : undefined;
  }

  /** The machineId of who proved the code. */
  get peerId(): string | undefined {
    if (this.#state.at === 'proved') return this.#state.greeting.peer.machineId;
    return this.party?.facts.peer.machineId;
  }

  /**
   * M1 → M2. Costs no guess, and says nothing about the code.
   * @throws {LoopsyError} `pair_not_open`, `pair_expired`, `pair_busy`, `rate_limited` (`details.retryAfterMs`),
   *   `peer_version`, `invalid_request`.
   */
  async initiate(body: unknown, address: string | undefined): Promise<Message> {
    const source = sourceOf(address);
    this.#openOrThrow();
    await this.#initiations.turn(source);
    const { attempts, password } = this.#openOrThrow();
    attempts.checkRoom(source);
    this.#checkVersion(body, source);
    const { pake: shareJoiner } = readFields(body, MESSAGES.initiate);
    const { spake2, clock } = this.#options;
    if (!spake2.isShare(shareJoiner)) throw suspect('point', 'pake is no point of the curve');
    const share = spake2.share(password, 'b');
    const id = Buffer.from(this.#random(16));
    attempts.add({ id, source, shareJoiner, share, atMs: clock.monotonicMs() });
    return { v: 1, attempt: write(id), pake: write(share.bytes) };
  }

  /**
   * M3 → M4. A wrong proof is a guess; a right one spends the code, whatever follows.
   * @throws {LoopsyError} as `initiate`, and `pair_wrong_code`.
   */
  async prove(body: unknown, address: string | undefined): Promise<Message> {
    this.tick();
    const prove = readFields(body, MESSAGES.prove);
    if ('prove' in this.#state && isSame(prove, this.#state.prove)) return this.#state.proved;
    const { attempts } = this.#openForProof();
    if (this.#waiting.has(write(prove.attempt))) throw waits();
    const attempt = attempts.take(prove.attempt);
    if (attempt === undefined)
      throw new LoopsyError('pair_expired', {
        message: 'this attempt is over, or never was',
        details: { reason: 'attempt' },
      });
    await this.#proofTurn(attempt, attempts, sourceOf(address));
    const open = this.#openForProof();
    if (open.attempts !== attempts) throw replaced();
    const { spake2, own } = this.#options;
    const keys = judgeProof(attempt, prove, { spake2, password: open.password });
    if (keys === undefined) throw this.#wrong(open, sourceOf(address));
    // From here on the code is spent.
    const [greeting, proved] = this.#orFail(() => greetJoiner(keys, prove, { own, random: this.#random }));
    this.#enter({ at: 'proved', prove, proved, greeting, address, endsAtMs: this.#now() + REVEAL_MS });
    return proved;
  }

  /** M5 → M6. @throws {LoopsyError} `pair_not_open` where it belongs to no proved attempt; `invalid_request`. */
  reveal(body: unknown): Message {
    this.tick();
    const { attempt, box } = readFields(body, MESSAGES.reveal);
    const state = this.#state;
    if (!('prove' in state) || !attempt.equals(state.prove.attempt))
      throw new LoopsyError('pair_not_open', { message: 'no such attempt waits there' });
    if (state.at === 'proved') this.#compare(state, box);
    else if (!state.reveal.equals(box)) throw busy();
    return { ok: true };
  }

  /** The person here gives up, at any time before their yes. @throws {LoopsyError} `conflict` after it. */
  cancel(): void {
    if (this.party !== undefined) return this.party.refuse();
    const failure = cancelledHere();
    const answer = new LoopsyError('pair_not_open', { message: 'the pairing was cancelled there' });
    if (this.#state.at !== 'ended') this.#enter({ at: 'ended', failure, answer });
  }

  /** The person here has joined that machine at the same moment, and it is that pairing which goes on. */
  giveWay(machineId: string): void {
    if (this.#state.at === 'proved' && this.peerId === machineId) this.#fail(crossed());
  }

  /** Ends what is late. */
  tick(): void {
    const { at } = this.#state;
    if (at === 'compare') return this.party?.tick();
    if (at === 'ended' || this.#remainingMs > 0) return;
    const late = new LoopsyError('pair_expired');
    if (at === 'open') this.#enter({ at: 'ended', failure: late, answer: late });
    else this.#fail(suspect('silent', 'the joiner knew the code, and then fell silent'));
  }

  get #remainingMs(): number {
    if (this.#state.at === 'ended') return 0;
    if (this.#state.at === 'compare') return this.#state.party.remainingMs;
    return Math.max(0, this.#state.endsAtMs - this.#now());
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  #openOrThrow(): Open {
    this.tick();
    if (this.#state.at === 'open') return this.#state;
    throw this.#state.at === 'ended' ? this.#state.answer : busy();
  }

  #openForProof(): Open {
    const open = this.#openOrThrow();
    if (this.#options.isJoining?.() === true) throw busy();
    return open;
  }

  async #proofTurn(attempt: Attempt, attempts: Attempts, source: string): Promise<void> {
    const id = write(attempt.id);
    this.#waiting.add(id);
    try {
      await this.#proofs.turn(source);
    } catch (error) {
      // Who is told to come back finds the attempt again.
      attempts.giveBack(attempt);
      throw error;
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** The one who is told may be a program: the person here hears it too. */
  #checkVersion(body: unknown, source: string): void {
    try {
      checkVersion(body);
    } catch (error) {
      if (error instanceof LoopsyError) this.#trouble = `${source} can not pair: ${error.message}`;
      throw error;
    }
  }

  /** One guess is spent; the last one kills the code, and a longer one takes its place. */
  #wrong(open: Open, source: string): LoopsyError {
    open.guessesLeft -= 1;
    this.#initiations.penalise(source, AFTER_WRONG_MS);
    this.#proofs.penalise(source, AFTER_WRONG_MS);
    if (this.#guessedFrom.size < MAX_NAMED) this.#guessedFrom.add(source);
    if (open.guessesLeft === 0) {
      this.#killedBy = [...this.#guessedFrom];
      this.#enter({ at: 'open', ...openCode({ kind: 'long', below: this.#options.below }, this.#options) });
    }
    return new LoopsyError('pair_wrong_code');
  }

  #compare({ greeting, address, prove, proved }: Proved, reveal: Buffer): void {
    const { clock, invitation, own } = this.#options;
    const sas = this.#orFail(() => openReveal(greeting, reveal));
    const facts = factsOf('host', greeting, {
      attempt: prove.attempt,
      ownId: own.machineId,
      place: address === undefined ? undefined : { host: address, port: greeting.peer.port },
      startedAt: clock.now(),
    });
    const party = new PairingParty(facts, { clock, sas });
    this.#enter({ at: 'compare', party, prove, proved, reveal });
    if (invitation !== undefined) party.confirm(invitation);
  }

  /** Begins a state; whoever still waits for a turn in the last one is sent away. */
  #enter(state: State): void {
    this.#state = state;
    const answer = state.at === 'ended' ? state.answer : state.at === 'open' ? replaced() : busy();
    this.#initiations.clear(answer);
    this.#proofs.clear(answer);
  }

  /** After a right proof nothing is tried twice: any failure is the end. */
  #orFail<Result>(run: () => Result): Result {
    try {
      return run();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  #fail(failure: unknown): void {
    this.#enter({ at: 'ended', failure: blameOther(failure), answer: busy() });
  }
}

const isSame = (one: Prove, other: Prove): boolean =>
  one.attempt.equals(other.attempt) && one.confirm.equals(other.confirm) && one.box.equals(other.box);
