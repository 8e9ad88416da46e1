import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { PairingOutcome } from '../../trust/pairing-edits.ts';
import type { Stage } from '../../trust/pairing-machine.ts';
import type { PairingEffect, PairingParty } from '../../trust/pairing-party.ts';
import type { Wish } from '../../trust/pairing-record.ts';

/** What carrying out needs. */
export interface DriverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly carryOut: (effect: PairingEffect) => Promise<PairingOutcome>;
  /** Before trust is made, and after. */
  readonly expect: (party: PairingParty) => void;
  readonly paired: (party: PairingParty) => void;
  /** What a party asked for is on disk. */
  readonly kept: (party: PairingParty, effect: PairingEffect['kind']) => void;
  /** Something that a person may see has changed. */
  readonly changed: () => void;
}

const RETRY_MS = 2000;
/** Wall clocks jump: an end is looked for at least this often. */
const LOOK_MS = 30_000;

/** Does on disk what a party asks for, one thing after the other, before its words leave; and ends it in time. */
export class PartyDriver {
  readonly party: PairingParty;
  readonly #parts: DriverParts;
  /** An invitation's yes, which has to be said again where it could not be stored. */
  readonly #standingYes: Wish | undefined;
  readonly #unfollow: () => void;
  #isBusy = false;
  #isClosed = false;
  #retry: Timer | undefined;
  #deadline: Timer | undefined;
  #failures = 0;
  /** What the disk said last; undefined once it took what it was given. */
  #trouble: string | undefined;
  /** The last stage in which it was not over. */
  #lived: Stage;
  #endedAtMs: number | undefined;

  constructor(party: PairingParty, parts: DriverParts, standingYes?: Wish) {
    this.party = party;
    this.#parts = parts;
    this.#standingYes = standingYes;
    this.#lived = party.stage;
    this.#unfollow = party.onChange(() => this.#follow());
    this.#follow();
  }

  /** What keeps it from going on. */
  get trouble(): string | undefined {
    const isOver = this.party.stage === 'compare' && this.#standingYes === undefined;
    return this.#trouble === undefined || isOver ? this.#trouble : `${this.#trouble}; trying again`;
  }

  /** The last stage in which it was not over. */
  get lived(): Stage {
    return this.#lived;
  }

  /** When it was over (monotonic ms). */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  /** The person's yes, kept on disk when it resolves. @throws {LoopsyError} as `confirm`, or why it could not be kept. */
  async say(wish: Wish, sas: string | undefined): Promise<void> {
    this.party.confirm(wish, sas);
    const failures = this.#failures;
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const isKept = this.party.stage !== 'compare';
        const failed = this.#failures > failures && !this.party.saidYes;
        if (!isKept && !failed && !this.#isClosed) return;
        stop();
        if (isKept) resolve();
        else reject(this.#notKept());
      };
      const stop = this.party.onChange(look);
      look();
    });
  }

  /** Nothing more is done; what is on disk stays. */
  close(): void {
    this.#isClosed = true;
    this.#unfollow();
    this.#retry?.cancel();
    this.#deadline?.cancel();
  }

  #notKept(): LoopsyError {
    return new LoopsyError('internal', {
      message: `your yes could not be kept, so that it does not count: ${this.#trouble ?? 'the node is stopping'}`,
      hint: 'nothing is trusted; mend that, and say yes again while the number is shown',
    });
  }

  #follow(): void {
    if (this.#isClosed) return;
    const { party } = this;
    if (party.isOver) this.#endedAtMs ??= this.#parts.clock.monotonicMs();
    else this.#lived = party.stage;
    this.#watchEnd();
    this.#begin();
    this.#parts.changed();
  }

  #watchEnd(): void {
    this.#deadline?.cancel();
    if (this.party.isOver) return;
    // Late, and its end is not on disk yet: that is tried again by itself.
    const { remainingMs } = this.party;
    const lookMs = remainingMs === 0 ? LOOK_MS : Math.min(LOOK_MS, remainingMs + 1);
    this.#deadline = this.#parts.clock.after(lookMs, () => {
      this.party.tick();
      this.#watchEnd();
    });
  }

  #begin(): void {
    const { effect } = this.party;
    if (effect === undefined || this.#isBusy || this.#isClosed || this.#retry !== undefined) return;
    this.#isBusy = true;
    void this.#carryOut(effect);
  }

  async #carryOut(effect: PairingEffect): Promise<void> {
    const { party } = this;
    const { carryOut, expect, kept, paired, log } = this.#parts;
    try {
      if (effect.kind === 'trust') expect(party);
      const outcome = await carryOut(effect);
      kept(party, effect.kind);
      if (effect.kind === 'trust') paired(party);
      if (effect.kind === 'untrust')
        log.warn('trust taken back: the other side never answered', { peer: party.facts.peer.machineId });
      this.#isBusy = false;
      this.#trouble = undefined;
      party.done(outcome);
    } catch (error) {
      this.#isBusy = false;
      this.#failures += 1;
      const trouble = error instanceof Error ? error.message : String(error);
      if (trouble !== this.#trouble) log.warn('pairing not kept', { effect: effect.kind, error: trouble });
      this.#trouble = trouble;
      if (!this.#isClosed) this.#retry = this.#parts.clock.after(RETRY_MS, () => this.#again());
      party.failed();
    }
  }

  #again(): void {
    const { party } = this;
    this.#retry = undefined;
    if (this.#standingYes !== undefined && party.stage === 'compare' && !party.isOver) party.confirm(this.#standingYes);
    else party.retry();
    this.#begin();
  }
}
