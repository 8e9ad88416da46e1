import { LoopsyError } from '../../protocol/errors.ts';
import type { Stamp } from '../../protocol/transfers.ts';
import type { SourceEnd } from './ends.ts';
import type { Patience } from './patience.ts';

/** A part of a file that was asked for. */
interface Part {
  readonly to: number;
  readonly chunks: Promise<AsyncIterator<Uint8Array>>;
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
  const open = (begin: number, end = Math.min(to, begin + source.partBytes)): Part => {
    const chunks = source
      .read({ kind: 'range', file, from: begin, to: end })
      .then((read) => read[Symbol.asyncIterator]());
    // Who reads it hears of it.
    chunks.catch(() => undefined);
    return { to: end, chunks };
  };
  const pauses = patience.pauses();
  let part = open(at);
  let next: Part | undefined;
  try {
    while (at < to) {
      try {
        const chunks = await part.chunks;
        if (part.to < to) next ??= open(part.to);
        for (let step = await chunks.next(); step.done !== true; step = await chunks.next()) {
          yield step.value;
          at += step.value.length;
          patience.contact();
        }
        if (at < part.to) throw new LoopsyError('peer_unreachable', { message: 'the bytes ended before their end' });
        if (next !== undefined) part = next;
        next = undefined;
      } catch (thrown) {
        await leave(part);
        await pauses.endure(thrown);
        part = open(at, part.to);
      }
    }
  } finally {
    await leave(part);
    if (next !== undefined) await leave(next);
  }
}

const leave = async ({ chunks }: Part): Promise<void> => {
  const opened = await chunks.catch(() => undefined);
  await opened?.return?.().catch(() => undefined);
};
