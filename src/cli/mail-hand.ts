import { LoopsyError } from '../protocol/errors.ts';
import type { Message } from '../protocol/messages.ts';
import { wasCut } from './absence.ts';
import { type Cli, INTERRUPTED, type StopSignal } from './cli.ts';
import type { LocalNode } from './connect.ts';

/** Somebody else was quicker, or its time has come between. */
const GONE: ReadonlySet<string> = new Set(['message_taken', 'message_expired', 'message_not_found']);

/** True where a message can't be had any more. */
export const isGone = (thrown: unknown): boolean => thrown instanceof LoopsyError && GONE.has(thrown.error);

/** Which message is taken, and under which label. */
interface Wish {
  readonly id: string;
  readonly as?: string;
}

/**
 * Takes one message after the other; each is shown before the next one is taken. Behind a signal nothing more is taken,
 * and of one that may be taken and could not be shown it is said which it is.
 */
export class MailHand {
  readonly #cli: Pick<Cli, 'io' | 'out'>;
  readonly #ending = new AbortController();
  readonly #releases: (() => void)[];
  #code: number | undefined;
  #held: string | undefined;

  constructor(cli: Pick<Cli, 'io' | 'out'>) {
    this.#cli = cli;
    this.#releases = (['SIGINT', 'SIGTERM'] as const).map((name) => cli.io.onSignal(name, () => this.#end(name)));
  }

  /** Aborted when a signal has asked for the end. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** What the command ends with then; undefined: no signal has come. */
  get code(): number | undefined {
    return this.#code;
  }

  /** @returns undefined where somebody else has it. */
  async take({ client }: Pick<LocalNode, 'client'>, wish: Wish): Promise<Message | undefined> {
    const { io, out } = this.#cli;
    const { id } = wish;
    this.#held = id;
    try {
      const message = await client.call('message.read', wish);
      io.lastWords(`loopsy: ${id} was taken, and was not shown in full: \`loopsy message show ${id}\` has it`);
      return message;
    } catch (thrown) {
      this.#held = undefined;
      if (isGone(thrown)) return undefined;
      if (wasCut(thrown))
        out.note(`loopsy: ${id} may have been taken, and was not shown: \`loopsy message show ${id}\` has it`);
      throw thrown;
    }
  }

  /** Resolves when the text has left: then the message in hand is shown. */
  async show(text: string): Promise<void> {
    const { io } = this.#cli;
    await io.stdout.writeBytes(Buffer.from(text));
    this.#held = undefined;
    io.lastWords(undefined);
  }

  /** Signals act as ever from here on. */
  release(): void {
    for (const release of this.#releases.splice(0)) release();
  }

  /** The next signal ends the process at once. */
  #end(name: StopSignal): void {
    this.#code = INTERRUPTED[name];
    this.release();
    const id = this.#held;
    if (id !== undefined)
      this.#cli.out.note(`loopsy: ${id} is shown before this ends; \`loopsy message show ${id}\` has it, too`);
    this.#ending.abort();
  }
}
