import type { Clock, Timer } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { usedRequestId } from '../../protocol/requests.ts';

/** What an effect answered: kept for repeats of its request. */
export interface EffectAnswer {
  readonly status: number;
  readonly body: string;
  readonly object: string | undefined;
  /** Where this node made the answer out of an error. */
  readonly error?: LoopsyError;
}

/** One request for an effect. */
export interface EffectRequest {
  /** What is asked for; a request with the same key and another digest is no repeat. */
  readonly digest: string;
  /** Aborted when this request's connection is lost. */
  readonly gone: AbortSignal;
  /** For how long the first result may have been kept, where this is a repeat. */
  readonly repeatAgeMs: number | undefined;
  /** The effect itself knows a repeat, and gives it what it gave the first time: a large answer need not be kept. */
  readonly knowsRepeats?: boolean;
}

/** Runs the effect; `signal` is aborted where nobody waits for the answer any more. */
export type RunEffect = (signal: AbortSignal) => Promise<EffectAnswer>;

interface Record {
  readonly digest: string;
  /** Not there where what the effect answers is kept elsewhere. */
  answer: Promise<EffectAnswer> | undefined;
  /** The effect is asked again. */
  readonly knowsRepeats: boolean;
  readonly controller: AbortController;
  waiting: number;
  done: boolean;
  doneAtMs: number;
  bytes: number;
  grace: Timer | undefined;
}

const KEEP_MS = 600_000;
/** A repeat that is older may be of a result that was forgotten. */
const SURE_MS = 540_000;
const GRACE_MS = 10_000;
const MAX_RECORDS = 20_000;
const MAX_BYTES = 16_777_216;
/** A larger answer is asked for again where that can be. */
const SMALL_BYTES = 65_536;

/**
 * An effect happens once: a repeat by the same caller within ten minutes gets the first result, and a request whose
 * connection broke has ten seconds to be repeated before its effect is told that nobody waits.
 */
export class EffectTable {
  readonly #clock: Clock;
  #records = new Map<string, Record>();
  #bytes = 0;
  #evictedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Carries out `run` once for `key`, and gives every repeat the same answer.
   * @throws {LoopsyError} `outcome_unknown` for a repeat whose first result is no longer held; `invalid_request` where
   *   `key` stands for another request.
   */
  async once(key: string, run: RunEffect, request: EffectRequest): Promise<EffectAnswer> {
    this.#forget();
    const known = this.#find(key, request.digest);
    const isHeld = known !== undefined && (known.answer !== undefined || !known.knowsRepeats);
    const record = isHeld ? known : this.#begin(key, run, { ...request, known });
    const { gone } = request;
    const { answer } = record;
    if (answer === undefined) throw usedRequestId();
    record.waiting += 1;
    record.grace?.cancel();
    record.grace = undefined;
    const leave = (): void => this.#leave(record);
    gone.addEventListener('abort', leave, { once: true });
    if (gone.aborted) leave();
    try {
      return await answer;
    } finally {
      gone.removeEventListener('abort', leave);
    }
  }

  /**
   * Takes a key for an effect whose answer is kept elsewhere, or is none that could be given twice.
   * @throws {LoopsyError} `invalid_request` where it stands for another request.
   */
  claim(key: string, digest: string): void {
    this.#forget();
    if (this.#find(key, digest) !== undefined) return;
    const record = newRecord({ digest, knowsRepeats: false }, new AbortController(), undefined);
    this.#records.set(key, record);
    this.#settle(record, 0);
  }

  /** True where the effect of `key` has begun and not ended: a request for it is a repeat. */
  isUnderWay(key: string): boolean {
    return this.#records.get(key)?.done === false;
  }

  /** Aborts the effect of `key`. @returns false where it had ended, or is not known. */
  cancel(key: string, reason: string): boolean {
    const record = this.#records.get(key);
    if (record === undefined || record.done) return false;
    record.controller.abort(reason);
    return true;
  }

  /** Ends every effect of the callers that match: what they started no longer has anyone to answer to. */
  cancelOf(matches: (caller: string) => boolean, reason: string): void {
    for (const [key, record] of this.#records) {
      if (!record.done && matches(key.slice(0, key.indexOf('\n')))) record.controller.abort(reason);
    }
  }

  #find(key: string, digest: string): Record | undefined {
    const record = this.#records.get(key);
    if (record !== undefined && record.digest !== digest) throw usedRequestId();
    return record;
  }

  #begin(key: string, run: RunEffect, request: EffectRequest & { known: Record | undefined }): Record {
    const { digest, repeatAgeMs, knowsRepeats = false, known } = request;
    // Where a result may have been dropped, a repeat can't be told from a request that never arrived.
    const sinceEvictionMs = this.#clock.monotonicMs() - this.#evictedAtMs;
    const isUnsure = repeatAgeMs !== undefined && (repeatAgeMs > SURE_MS || sinceEvictionMs < KEEP_MS);
    if (known === undefined && isUnsure) throw new LoopsyError('outcome_unknown');
    const controller = new AbortController();
    const answer = run(controller.signal);
    const record = newRecord({ digest, knowsRepeats }, controller, answer);
    this.#records.delete(key);
    this.#records.set(key, record);
    void answer.then(
      ({ body }) => {
        const isKept = !knowsRepeats || body.length <= SMALL_BYTES;
        if (!isKept) record.answer = undefined;
        this.#settle(record, isKept ? body.length : 0);
      },
      () => this.#settle(record, 0),
    );
    return record;
  }

  #settle(record: Record, bytes: number): void {
    record.done = true;
    record.doneAtMs = this.#clock.monotonicMs();
    record.bytes = bytes;
    this.#bytes += bytes;
    record.grace?.cancel();
    record.grace = undefined;
  }

  #leave(record: Record): void {
    record.waiting -= 1;
    if (record.done || record.waiting > 0) return;
    record.grace = this.#clock.after(GRACE_MS, () => record.controller.abort('client-gone'));
  }

  #forget(): void {
    const now = this.#clock.monotonicMs();
    for (const [key, record] of this.#records) {
      const expired = record.done && now - record.doneAtMs > KEEP_MS;
      const over = record.done && (this.#records.size > MAX_RECORDS || this.#bytes > MAX_BYTES);
      if (!expired && !over) {
        if (record.done) return;
        continue;
      }
      if (!expired && (record.answer !== undefined || record.knowsRepeats)) this.#evictedAtMs = now;
      this.#bytes -= record.bytes;
      this.#records.delete(key);
    }
  }
}

const newRecord = (
  { digest, knowsRepeats }: Pick<Record, 'digest' | 'knowsRepeats'>,
  controller: AbortController,
  answer: Record['answer'],
): Record => ({
  digest,
  knowsRepeats,
  answer,
  controller,
  waiting: 0,
  done: false,
  doneAtMs: 0,
  bytes: 0,
  grace: undefined,
});
