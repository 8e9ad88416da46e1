import { LineReader } from '../kernel/lines.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { parseFields } from '../protocol/record.ts';
import type { Stdin } from './cli.ts';
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
}

/** The longest value, each of its characters as long as JSON makes it. */
const MAX_LINE_BYTES = 8 * 1_048_576;
const AT_ONCE = 16;

interface Counts {
  set: number;
  kept: number;
}

/**
 * Sets each line's key. @returns how many were set, and left alone.
 * @throws {LoopsyError} what keeps a line from being set: with its number, and how many are set all the same.
 */
export const importLines = async (stdin: Stdin, { set, isKept }: Importing): Promise<Counts> => {
  const counts = { set: 0, kept: 0 };
  const under = new Set<Promise<void>>();
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
    for await (const line of linesOf(stdin)) {
      if (failed !== undefined) break;
      const taking: Promise<void> = take(line).finally(() => under.delete(taking));
      under.add(taking);
      if (under.size >= AT_ONCE) await Promise.race(under);
    }
  } catch (thrown) {
    failed ??= thrown;
  }
  await Promise.all(under);
  if (failed !== undefined) throw withCounts(failed, counts);
  return counts;
};

const atLine = (line: number, thrown: unknown): unknown =>
  thrown instanceof LoopsyError ? reworded(thrown, `line ${line} of stdin: ${thrown.message}`) : thrown;

/** Lines before it, and some behind it, are in already. */
const withCounts = (thrown: unknown, counts: Counts): unknown => {
  if (!(thrown instanceof LoopsyError)) return thrown;
  const also = counts.kept === 0 ? '' : `, ${counts.kept} were there already`;
  const were = `${counts.set} ${counts.set === 1 ? 'key is' : 'keys are'} set${also}`;
  return reworded(thrown, `${thrown.message}; ${were}`, { ...counts });
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
