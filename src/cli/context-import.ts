import type { Clock } from '../kernel/clock.ts';
import { withTimeLimit } from '../kernel/sleep.ts';
import { LineReader } from '../kernel/lines.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { parseFields } from '../protocol/record.ts';
import type { Stdin } from './cli.ts';
import { count } from './output.ts';
import { usageError } from './parse.ts';
import { watchStdin } from './stdin.ts';

/** A key as it is exported. */
interface Entry {
  readonly key: string;
  readonly value: string;
  readonly ttl?: number;
}

interface Line {
  readonly number: number;
  readonly entry: Entry;
}

/** How lines are taken. */
interface Importing {
  readonly set: (entry: Entry) => Promise<unknown>;
  /** True where a key was left as it is. */
  readonly isKept: (error: LoopsyError) => boolean;
  /** Counted while it goes on. */
  readonly counts: Counts;
  readonly clock: Clock;
  /** Nothing is begun any more; what is under way is waited for, but not long. */
  readonly signal: AbortSignal;
}

/** The longest value, each of its characters as long as JSON makes it. */
const MAX_LINE_BYTES = 8 * 1_048_576;
const AT_ONCE = 16;

/** How long sets under way may take to say what came of them, where the command is to end. */
const LEAVE_MS = 2000;

/** How many keys were set, and left alone. */
export interface Counts {
  set: number;
  kept: number;
}

/** As words: `3 keys are set, 1 was there already`. */
export const countWords = ({ set, kept }: Counts): string => {
  const also = kept === 0 ? '' : `, ${kept} ${kept === 1 ? 'was' : 'were'} there already`;
  return `${count(set, 'key')} ${set === 1 ? 'is' : 'are'} set${also}`;
};

/**
 * Sets each line's key.
 * @throws {LoopsyError} what keeps a line from being set: with its number, and how many are set all the same.
 *   The signal's reason, where it ended this.
 */
export const importLines = async (stdin: Stdin, importing: Importing): Promise<void> => {
  const { set, isKept, counts, signal } = importing;
  /** By key, the last of each. */
  const under = new Map<string, Promise<void>>();
  let begun = 0;
  let failed: unknown;
  const take = async ({ number, entry }: Line): Promise<void> => {
    try {
      await set(entry);
      counts.set += 1;
    } catch (thrown) {
      if (thrown instanceof LoopsyError && isKept(thrown)) counts.kept += 1;
      else failed ??= atLine(number, thrown);
    }
  };
  try {
    const lines = linesOf(stdin);
    for (;;) {
      const step = await orEnded(lines.next(), signal);
      if (step === undefined || step.done === true || failed !== undefined) break;
      const { value: line } = step;
      const { key } = line.entry;
      // Lines of one key are set one after the other: the last of them stands.
      const taking: Promise<void> = (under.get(key) ?? Promise.resolve())
        .then(() => take(line))
        .finally(() => {
          begun -= 1;
          if (under.get(key) === taking) under.delete(key);
        });
      under.set(key, taking);
      begun += 1;
      if (begun >= AT_ONCE) await orEnded(Promise.race(under.values()), signal);
    }
  } catch (thrown) {
    failed ??= thrown;
  }
  await settled(Promise.all(under.values()), importing);
  signal.throwIfAborted();
  if (failed !== undefined) throw withCounts(failed, counts);
};

/** What comes of it, or undefined at the signal. Nothing is kept of it behind that, as a race would. */
const orEnded = async <T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> => {
  let end = (): void => undefined;
  try {
    return await new Promise<T | undefined>((resolve, reject) => {
      end = () => resolve(undefined);
      if (signal.aborted) end();
      signal.addEventListener('abort', end);
      promise.then(resolve, reject);
    });
  } finally {
    signal.removeEventListener('abort', end);
  }
};

/** Waits for what is under way; behind the signal not for long. */
const settled = async (under: Promise<unknown>, { signal, clock }: Importing): Promise<void> => {
  await orEnded(under, signal);
  if (signal.aborted) await withTimeLimit(under, LEAVE_MS, clock);
};

const atLine = (line: number, thrown: unknown): unknown =>
  thrown instanceof LoopsyError ? reworded(thrown, `line ${line} of stdin: ${thrown.message}`) : thrown;

/** Lines before it, and some behind it, are in already. */
const withCounts = (thrown: unknown, counts: Counts): unknown => {
  if (!(thrown instanceof LoopsyError)) return thrown;
  return reworded(thrown, `${thrown.message}; ${countWords(counts)}`, { ...counts });
};

const reworded = (thrown: LoopsyError, message: string, more: Record<string, unknown> = {}): LoopsyError => {
  const { error, hint, details, cause } = thrown;
  return new LoopsyError(error, {
    message,
    details: { ...details, ...more },
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
};

async function* linesOf(stdin: Stdin): AsyncGenerator<Line> {
  const reader = new LineReader(() => MAX_LINE_BYTES);
  let number = 0;
  async function* chunks(): AsyncGenerator<Buffer> {
    for await (const bytes of watchStdin(stdin).bytes()) yield Buffer.from(bytes);
    yield Buffer.from('\n');
  }
  for await (const chunk of chunks()) {
    for (const text of reader.read(chunk)) {
      number += 1;
      if (text.trim() !== '') yield { number, entry: entryIn(text, number) };
    }
  }
}

const entryIn = (text: string, number: number): Entry => {
  const { key, value, ttl } = parseFields(text) ?? {};
  const isTtl = ttl === undefined || typeof ttl === 'number';
  if (typeof key === 'string' && typeof value === 'string' && isTtl)
    return ttl === undefined ? { key, value } : { key, value, ttl };
  throw usageError(`line ${number} of stdin is no key with its value`, 'as `loopsy context export` prints them');
};
