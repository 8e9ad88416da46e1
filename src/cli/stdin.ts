import type { Stdin } from './cli.ts';

/** A stdin that is read from the start, so that an empty one is known before anything is asked for. */
export interface WatchedStdin {
  /** True where nothing will ever come. */
  readonly empty: boolean;
  /** Resolves when the first bytes, or the end, are there. */
  readonly seen: Promise<void>;
  /** The bytes; can be read once. */
  bytes(): AsyncGenerator<Uint8Array>;
}

/** Begins to read. */
export const watchStdin = (stdin: Stdin): WatchedStdin => {
  if (stdin.kind === 'none') return { empty: true, seen: Promise.resolve(), bytes: noBytes };
  const { stream } = stdin;
  let first: Uint8Array | undefined;
  let ended = false;
  const seen = new Promise<void>((resolve) => {
    const end = (): void => {
      ended = true;
      resolve();
    };
    stream.once('end', end);
    // A stdin that can't be read (a terminal that is gone) holds nothing.
    stream.once('error', end);
    stream.once('readable', () => {
      first = toBytes(stream.read());
      if (first !== undefined) resolve();
    });
  });
  return {
    get empty() {
      return ended && first === undefined;
    },
    seen,
    async *bytes() {
      await seen;
      if (first !== undefined) yield first;
      if (ended) return;
      for await (const chunk of stream) yield toBytes(chunk) ?? new Uint8Array();
    },
  };
};

async function* noBytes(): AsyncGenerator<Uint8Array> {}

const toBytes = (chunk: unknown): Uint8Array | undefined => {
  if (chunk instanceof Uint8Array) return chunk;
  return typeof chunk === 'string' ? Buffer.from(chunk) : undefined;
};
