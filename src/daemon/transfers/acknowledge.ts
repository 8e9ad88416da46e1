import type { Clock } from '../../kernel/clock.ts';
import { LineReader } from '../../kernel/lines.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { errorFromBody, LoopsyError } from '../../protocol/errors.ts';
import { rowOf } from '../../protocol/operations.ts';
import { isRecord } from '../../protocol/record.ts';
import type { TargetTaken } from '../../protocol/transfers.ts';
import { CHUNK_BYTES } from './format.ts';

/** So many bytes are acknowledged at once, half of what may be on its way; or what has come in so many ms. */
const ACK_BYTES = CHUNK_BYTES / 2;
const ACK_MS = 200;
/** What a sender may have on its way: no more is sent again when the connection breaks. */
const WINDOW_BYTES = CHUNK_BYTES;
const MAX_LINE_BYTES = 65_536;

/** What a target may say of a file; nothing of this node's own keys and rights among it. */
const OF_FILES: ReadonlySet<string> = new Set([...rowOf('target.put').errors, 'invalid_request', 'request_timeout']);

const notOfFiles = ({ message }: LoopsyError): LoopsyError => new LoopsyError('transfer_failed', { message });

const lineOf = (taken: TargetTaken): Uint8Array => Buffer.from(`${JSON.stringify(taken)}\n`);

/** What a target says of bytes while they come: how far they are, and at the end that they are written, or why not. */
export async function* acknowledged(
  from: number,
  write: (onBytes: (bytes: number) => void) => Promise<unknown>,
  clock: Clock,
): AsyncGenerator<Uint8Array> {
  const writing = new Writing(from, write);
  let [toldAtMs, hasSpoken] = [clock.monotonicMs(), false];
  // The head leaves soon, whatever has come: from then on a failure is said in a line.
  const look = clock.every(ACK_MS, () => writing.wake());
  try {
    while (!writing.isOver) {
      const { at, told } = writing;
      const isLate = clock.monotonicMs() - toldAtMs >= ACK_MS;
      if (at - told >= ACK_BYTES || (isLate && (at > told || !hasSpoken))) {
        [writing.told, toldAtMs, hasSpoken] = [at, clock.monotonicMs(), true];
        yield lineOf({ at });
        continue;
      }
      await writing.changed();
    }
  } finally {
    look.cancel();
  }
  const { failure } = writing;
  // Where nothing was said yet, it is the answer.
  if (failure !== undefined && (!hasSpoken || !(failure instanceof LoopsyError))) throw failure;
  yield lineOf(failure instanceof LoopsyError ? failure.toBody() : { done: true });
}

/** A write under way. */
class Writing {
  /** All before has come. */
  at: number;
  /** All before was acknowledged. */
  told: number;
  isOver = false;
  failure: Error | undefined;
  wake: () => void = () => undefined;

  constructor(from: number, write: (onBytes: (bytes: number) => void) => Promise<unknown>) {
    this.at = from;
    this.told = from;
    const onBytes = (bytes: number): void => {
      this.at += bytes;
      if (this.at - this.told >= ACK_BYTES) this.wake();
    };
    write(onBytes).then(
      () => this.#end(undefined),
      (thrown: unknown) => this.#end(thrown instanceof Error ? thrown : new Error(String(thrown))),
    );
  }

  /** Resolves when there may be something to say, or it is over. */
  changed(): Promise<void> {
    return new Promise((resolve) => (this.wake = resolve));
  }

  #end(failure: Error | undefined): void {
    this.failure = failure;
    this.isOver = true;
    this.wake();
  }
}

/** Bytes on their way to a target that says how far they have come. */
export class Unacknowledged {
  #sent: number;
  #at: number;
  #isStopped = false;
  #wake: () => void = () => undefined;

  constructor(from: number) {
    this.#sent = from;
    this.#at = from;
  }

  /** The same bytes, no more of them at once than may be lost. */
  async *flow(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      while (!this.#isStopped && this.#sent + chunk.length - this.#at > WINDOW_BYTES)
        await new Promise<void>((resolve) => (this.#wake = resolve));
      if (this.#isStopped) return;
      this.#sent += chunk.length;
      yield chunk;
    }
  }

  /**
   * Reads what the target says, to its end. `onTaken` is told how far they have come.
   * @throws {LoopsyError} what it says, and `peer_unreachable` where it breaks off.
   */
  async read(answer: AsyncIterable<Uint8Array>, onTaken: (at: number) => void): Promise<void> {
    const lines = new LineReader(() => MAX_LINE_BYTES);
    let isDone = false;
    try {
      // To its end: what is left before is no connection for the next one.
      for await (const chunk of answer)
        for (const line of lines.read(Buffer.from(chunk))) isDone = this.#hear(parseJson(line), onTaken) || isDone;
    } catch (thrown) {
      if (thrown instanceof RangeError) throw new LoopsyError('peer_handshake', { message: thrown.message });
      if (!isDone) throw thrown;
    }
    if (!isDone) throw new LoopsyError('peer_unreachable', { message: 'the answer was cut' });
  }

  /** @returns true where all are written. */
  #hear(said: unknown, onTaken: (at: number) => void): boolean {
    const failure = errorFromBody(said);
    if (failure !== undefined) throw OF_FILES.has(failure.error) ? failure : notOfFiles(failure);
    if (!isRecord(said)) return false;
    this.#take(Number(said['at']), onTaken);
    return said['done'] === true;
  }

  /** No more of them leave. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  #take(at: number, onTaken: (at: number) => void): void {
    // What was not sent can't have come.
    if (!(at > this.#at && at <= this.#sent)) return;
    this.#at = at;
    onTaken(at);
    this.#wake();
  }
}
