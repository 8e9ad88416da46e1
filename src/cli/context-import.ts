import { LineReader } from '../kernel/lines.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { parseFields } from '../protocol/record.ts';
import type { Stdin } from './cli.ts';
import { usageError } from './parse.ts';
import { watchStdin } from './stdin.ts';

/** A key as it is exported. */
interface Line {
  readonly key: string;
  readonly value: string;
  readonly ttl?: number;
}

/** How lines are taken. */
interface Importing {
  readonly set: (line: Line) => Promise<unknown>;
  /** True where a key was left as it is. */
  readonly isKept: (error: LoopsyError) => boolean;
}

/** The longest value, each of its characters as long as JSON makes it. */
const MAX_LINE_BYTES = 8 * 1_048_576;
const AT_ONCE = 16;

/** Sets each line's key; a line that is none ends it, with its number. @returns how many were set, and left alone. */
export const importLines = async (stdin: Stdin, { set, isKept }: Importing): Promise<{ set: number; kept: number }> => {
  const counts = { set: 0, kept: 0 };
  const under = new Set<Promise<void>>();
  let failed: Error | undefined;
  const take = async (line: Line): Promise<void> => {
    try {
      await set(line);
      counts.set += 1;
    } catch (thrown) {
      if (thrown instanceof LoopsyError && isKept(thrown)) counts.kept += 1;
      else failed ??= thrown instanceof Error ? thrown : new Error(String(thrown));
    }
  };
  for await (const line of linesOf(stdin)) {
    if (failed !== undefined) break;
    const taking: Promise<void> = take(line).finally(() => under.delete(taking));
    under.add(taking);
    if (under.size >= AT_ONCE) await Promise.race(under);
  }
  await Promise.all(under);
  if (failed !== undefined) throw failed;
  return counts;
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
      if (text.trim() !== '') yield lineIn(text, number);
    }
  }
}

const lineIn = (text: string, number: number): Line => {
  const { key, value, ttl } = parseFields(text) ?? {};
  const isTtl = ttl === undefined || typeof ttl === 'number';
  if (typeof key === 'string' && typeof value === 'string' && isTtl)
    return ttl === undefined ? { key, value } : { key, value, ttl };
  throw usageError(`line ${number} of stdin is no key with its value`, 'as `loopsy context export` prints them');
};
