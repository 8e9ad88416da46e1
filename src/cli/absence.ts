import { sleep } from '../kernel/sleep.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';

/** A node is waited for so long, and the node is asked for so often. */
const AWAY_MS = 60_000;
const LOOK_MS = 250;

/** True where a connection broke, and not where a node answered with an error. */
export const wasCut = (thrown: unknown): boolean =>
  thrown instanceof LoopsyError &&
  thrown.cause !== undefined &&
  (thrown.error === 'outcome_unknown' || thrown.error === 'node_not_running');

/** Of what outlives its node. */
export const goesOn = (what: string): string => `the ${what} goes on, and is followed again when the node is back`;

/** How a wait for the node is taken. */
export interface Waiting {
  readonly signal: AbortSignal;
  /** Thrown where it takes too long. */
  readonly why: unknown;
  /** Monotonic ms: it takes too long from here on, at the latest. */
  readonly endAtMs?: number | undefined;
}

/** The time in which the node is away of something that is followed. */
export class Absence {
  readonly #cli: Pick<Cli, 'io' | 'node'>;
  readonly #note: string;
  readonly #say: (text: string) => void;
  #sinceMs: number | undefined;

  /** `say` is told `note` once for each absence. */
  constructor(cli: Pick<Cli, 'io' | 'node'>, note: string, say: (text: string) => void) {
    this.#cli = cli;
    this.#note = note;
    this.#say = say;
  }

  over(): void {
    this.#sinceMs = undefined;
  }

  /** Waits until this node answers. @throws `why`, where it takes too long. */
  async wait({ signal, why, endAtMs = Infinity }: Waiting): Promise<LocalNode> {
    const { io, node } = this.#cli;
    if (this.#sinceMs !== undefined) await sleep(LOOK_MS, io.clock);
    this.#sinceMs ??= io.clock.monotonicMs();
    for (let said = false; ;) {
      signal.throwIfAborted();
      const now = io.clock.monotonicMs();
      if (now - this.#sinceMs > AWAY_MS || now >= endAtMs) throw why;
      try {
        return await node();
      } catch (thrown) {
        if (!(thrown instanceof LoopsyError) || thrown.error !== 'node_not_running') throw thrown;
      }
      if (!said) this.#say(`loopsy: the node is away; ${this.#note}`);
      said = true;
      await sleep(LOOK_MS, io.clock);
    }
  }
}
