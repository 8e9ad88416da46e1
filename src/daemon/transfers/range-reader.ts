import { LoopsyError } from '../../protocol/errors.ts';
import type { Stamp } from '../../protocol/transfers.ts';
import type { SourceEnd } from './ends.ts';
import type { Patience } from './patience.ts';

type Step = IteratorResult<Uint8Array>;

/** A part of a file that was asked for, and is being read: what was never begun would not be left either. */
class Part {
  readonly to: number;
  readonly #chunks: Promise<AsyncIterator<Uint8Array>>;
  #first: Promise<Step> | undefined;

  constructor(to: number, read: Promise<AsyncIterable<Uint8Array>>) {
    this.to = to;
    this.#chunks = read.then((chunks) => chunks[Symbol.asyncIterator]());
    this.#first = this.#chunks.then((chunks) => chunks.next());
    // Who reads it hears of it.
    this.#first.catch(() => undefined);
  }

  async next(): Promise<Step> {
    const first = this.#first;
    this.#first = undefined;
    return first ?? (await this.#chunks).next();
  }

  /** Lets go of it, whenever its bytes come: nobody waits for that. */
  leave(): void {
    this.#chunks.then((chunks) => chunks.return?.()).catch(() => undefined);
  }
}

/**
 * The bytes of a file from `from` up to `to`. Of a peer's they are asked for in parts, the next while the last one comes,
 * so that a cut loses no more than these, and none twice. @throws what is no cut, or has lasted too long.
 */
export async function* readRange(
  source: SourceEnd,
  { file, from, to }: { readonly file: Stamp; readonly from: number; readonly to: number },
  patience: Patience,
): AsyncGenerator<Uint8Array, void> {
  let at = from;
  const open = (begin: number, end = Math.min(to, begin + source.partBytes)): Part =>
    new Part(end, source.read({ kind: 'range', file, from: begin, to: end }));
  const pauses = patience.pauses();
  let part = open(at);
  let next: Part | undefined;
  try {
    while (at < to) {
      try {
        if (part.to < to) next ??= open(part.to);
        for (let step = await part.next(); step.done !== true; step = await part.next()) {
          yield step.value;
          at += step.value.length;
          patience.contact();
        }
        if (at < part.to) throw new LoopsyError('peer_unreachable', { message: 'the bytes ended before their end' });
        if (next !== undefined) part = next;
        next = undefined;
      } catch (thrown) {
        part.leave();
        await pauses.endure(thrown);
        part = open(at, part.to);
      }
    }
  } finally {
    part.leave();
    next?.leave();
  }
}
