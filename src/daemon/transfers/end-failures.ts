import { LoopsyError } from '../../protocol/errors.ts';
import type { Transfer, TransferFailure } from '../../protocol/transfers.ts';
import { failedOf, failureOf, type Failed } from './format.ts';
import { failedIn } from './way.ts';

/** As many as a record keeps. */
const MAX_KEPT = 100;

/** What one end could not do, as it has answered its mover: the first of it, and what most of it was. */
export class EndFailures {
  readonly #kept = new Map<string, TransferFailure>();
  /** By error: how often, and its first message. */
  readonly #kinds = new Map<string, { count: number; readonly message: string }>();
  #count = 0;

  /** How many files. */
  get count(): number {
    return this.#count;
  }

  get kept(): TransferFailure[] {
    return [...this.#kept.values()];
  }

  /** What kept most of them. */
  get main(): Pick<Transfer, 'error' | 'message'> {
    const [first] = [...this.#kinds].toSorted(([, a], [, b]) => b.count - a.count);
    return first === undefined ? {} : { error: first[0], message: first[1].message };
  }

  /** Takes those in a step's answer. */
  take(answer: unknown): void {
    for (const failed of failedIn(answer)) this.#add(failed);
  }

  /** Takes what a step has thrown, where that is about one file. */
  takeThrown(thrown: unknown): void {
    if (!(thrown instanceof LoopsyError)) return;
    const path = thrown.details?.['path'];
    if (typeof path === 'string') this.#add(failedOf(path, thrown));
  }

  #add(failed: Failed): void {
    const [path, error, message] = failed;
    // After a cut the same is answered again.
    if (this.#kept.has(path)) return;
    this.#count += 1;
    if (this.#kept.size < MAX_KEPT) this.#kept.set(path, failureOf(failed));
    const kind = this.#kinds.get(error) ?? { count: 0, message };
    kind.count += 1;
    this.#kinds.set(error, kind);
  }
}
