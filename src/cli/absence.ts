import { sleep } from '../kernel/sleep.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';

/** What outlives its node is waited for so long, and the node is asked for so often. */
const AWAY_MS = 60_000;
const LOOK_MS = 250;

/** True where a connection broke, and not where a node answered with an error. */
export const wasCut = (thrown: unknown): boolean =>
  thrown instanceof LoopsyError &&
  thrown.cause !== undefined &&
  (thrown.error === 'outcome_unknown' || thrown.error === 'node_not_running');

/** How a wait for the node is taken. */
export interface Waiting {
  readonly signal: AbortSignal;
  /** Thrown where it takes too long. */
  readonly why: unknown;
}

/** The time in which the node is away of something that goes on without it. */
export class Absence {
  readonly #cli: Pick<Cli, 'io' | 'node'>;
  readonly #what: string;
  readonly #say: (text: string) => void;
  #sinceMs: number | undefined;

  /** `what` goes on; `say` is told so once for each absence. */
  constructor(cli: Pick<Cli, 'io' | 'node'>, what: string, say: (text: string) => void) {
    this.#cli = cli;
    this.#what = what;
    this.#say = say;
  }

  over(): void {
    this.#sinceMs = undefined;
  }

  /** Waits until this node answers. @throws `why`, where it takes too long. */
  async wait({ signal, why }: Waiting): Promise<LocalNode> {
    const { io, node } = this.#cli;
    if (this.#sinceMs !== undefined) await sleep(LOOK_MS, io.clock);
    this.#sinceMs ??= io.clock.monotonicMs();
    for (let said = false; ;) {
      signal.throwIfAborted();
      if (io.clock.monotonicMs() - this.#sinceMs > AWAY_MS) throw why;
      try {
        return await node();
      } catch (thrown) {
        if (!(thrown instanceof LoopsyError) || thrown.error !== 'node_not_running') throw thrown;
      }
      if (!said) {
        this.#say(`loopsy: the node is away; the ${this.#what} goes on, and is followed again when the node is back`);
      }
      said = true;
      await sleep(LOOK_MS, io.clock);
    }
  }
}
