import { LoopsyError } from '../protocol/errors.ts';
import { type Caller, callerName } from './caller.ts';

/** How much of something callers may hold. */
export interface SharesOptions {
  /** What it is, in the plural: `watches of the context`. */
  readonly what: string;
  /** The most that one peer, key or agent holds at once. */
  readonly each: number;
  /** The most that the owner of this node holds; default: as all others. */
  readonly owner?: number;
}

/** What callers hold at once: each has a share of its own, so that none can take what is another's. */
export class Shares {
  readonly #options: SharesOptions;
  readonly #held = new Map<string, number>();

  constructor(options: SharesOptions) {
    this.#options = options;
  }

  /** Takes one. @returns gives it back, once. @throws {LoopsyError} `too_many_streams`. */
  take(caller: Caller): () => void {
    const { what, each, owner = each } = this.#options;
    const name = callerName(caller);
    const held = this.#held.get(name) ?? 0;
    if (held >= (caller.kind === 'owner' ? owner : each))
      throw new LoopsyError('too_many_streams', {
        message: `${name} has ${held} ${what} open on this node already`,
        hint: 'end some of them first',
        details: { caller: name, held },
      });
    this.#held.set(name, held + 1);
    let isHeld = true;
    return () => {
      if (isHeld) this.#giveBack(name);
      isHeld = false;
    };
  }

  #giveBack(name: string): void {
    const held = (this.#held.get(name) ?? 1) - 1;
    if (held === 0) this.#held.delete(name);
    else this.#held.set(name, held);
  }
}
