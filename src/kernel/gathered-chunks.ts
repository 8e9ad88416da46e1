import type { Readable } from 'node:stream';

import { notePassing } from './passing-bytes.ts';
import { nextTurn } from './turn.ts';

/** Bytes that wait to be taken before the sender has to wait. */
const MAX_WAITING_BYTES = 524_288;
/** What comes as one: all that waits, and the chunk that was too much. */
const MEMORY_BYTES = MAX_WAITING_BYTES + 65_536;

/**
 * The bytes of a stream, taken no faster than they are asked for; what has come while the last chunk was in use comes as
 * one, so that who passes it on has few writes to make. Each chunk is good until the next is asked for. Throws where the
 * stream does not come to its end.
 */
export class GatheredChunks implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #source: Readable;
  readonly #leave: () => void;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #memory: Buffer | undefined;
  #failure: Error | undefined;
  #isLeft = false;
  #wake = (): void => undefined;

  /** @param leave what is done with the stream by who takes no more of it, before its end. */
  constructor(source: Readable, leave: (source: Readable) => void) {
    this.#source = source;
    this.#leave = () => leave(source);
    source.on('data', this.#take);
    source.on('error', (error) => {
      this.#failure = error;
      this.#wake();
    });
    source.on('end', () => this.#wake());
    source.on('close', () => this.#wake());
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    while (!this.#isLeft) {
      if (this.#waiting.length > 0) {
        // The rest of what the system has of it comes within this turn.
        if (this.#waitingBytes < MAX_WAITING_BYTES && !this.#source.readableEnded) await nextTurn();
        if (!this.#isLeft) return { done: false, value: this.#gather() };
        break;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#source.readableEnded) break;
      if (this.#source.destroyed) throw new Error('the bytes broke off before their end');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isLeft && !this.#source.readableEnded) {
      this.#source.off('data', this.#take);
      this.#source.pause();
      this.#leave();
    }
    this.#isLeft = true;
    this.#waiting = [];
    this.#wake();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #take = (chunk: Buffer): void => {
    notePassing(chunk.length);
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= MAX_WAITING_BYTES) this.#source.pause();
    this.#wake();
  };

  /** All that waits, as one; what is too large for that as it is. */
  #gather(): Uint8Array {
    let [count, bytes] = [0, 0];
    for (const { length } of this.#waiting) {
      if (count > 0 && bytes + length > MEMORY_BYTES) break;
      count += 1;
      bytes += length;
    }
    const taken = this.#waiting.splice(0, count);
    this.#waitingBytes -= bytes;
    if (this.#source.isPaused()) this.#source.resume();
    const [only] = taken;
    if (count === 1 && only !== undefined) return only;
    // Never all of it is given: who gives memory away, to another thread say, sees that this is only a part.
    const memory = (this.#memory ??= Buffer.allocUnsafeSlow(MEMORY_BYTES + 1));
    let at = 0;
    for (const chunk of taken) at += chunk.copy(memory, at);
    return memory.subarray(0, bytes);
  }
}
