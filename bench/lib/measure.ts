/** One figure with its bar: a ratio, a time or a size. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The most, or the least, that is right; a figure without a bar is only stated. */
  readonly most?: number;
  readonly least?: number;
  /** What it was made of. */
  readonly from?: Readonly<Record<string, number>>;
}

/** The middle one. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
};

const round = (value: number): number => Number(value.toPrecision(4));

/** Milliseconds that `run` takes. */
export const timeMs = async (run: () => Promise<unknown>): Promise<number> => {
  const startedAtMs = performance.now();
  await run();
  return performance.now() - startedAtMs;
};

/**
 * Runs the cases one after the other, round by round, so that whatever else the machine does falls on all of them.
 * @returns the median of each case, in ms.
 */
export const interleave = async <Name extends string>(
  cases: Readonly<Record<Name, () => Promise<unknown>>>,
  { rounds, warmUp }: { rounds: number; warmUp: number },
): Promise<Record<Name, number>> => {
  // The keys of the record are the names.
  const names = Object.keys(cases) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let at = -warmUp; at < rounds; at += 1) {
    for (const name of names) {
      const ms = await timeMs(cases[name]);
      if (at >= 0) times.get(name)?.push(ms);
    }
  }
  return Object.fromEntries(names.map((name) => [name, round(median(times.get(name) ?? []))])) as Record<Name, number>;
};

const isMet = ({ value, most, least }: Figure): boolean =>
  (most === undefined || value <= most) && (least === undefined || value >= least);

/** Prints the figures as JSON, one a line, and sets exit code 1 where a bar was missed. */
export const report = (figures: readonly Figure[]): void => {
  for (const figure of figures) {
    if (!Number.isFinite(figure.value)) {
      unmeasured([figure.name], 'it has no value on this system');
      continue;
    }
    const met = isMet(figure);
    process.stdout.write(`${JSON.stringify({ ...figure, value: round(figure.value), met })}\n`);
    if (!met) process.exitCode = 1;
  }
};

/** Says which figures can't be had here, and why: what was not measured is not met. */
export const unmeasured = (names: readonly string[], reason: string): void => {
  for (const name of names) process.stdout.write(`${JSON.stringify({ name, unmeasured: reason, met: false })}\n`);
  process.exitCode = 1;
};

/** Resident memory of a process, bytes; Linux only, else NaN. */
export const rssOf = async (pid: number): Promise<number> => {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(text)?.[1];
  return kib === undefined ? Number.NaN : Number(kib) * 1024;
};

/** Watches the resident memory of a process while `run` goes on. @returns the growth over the first reading, MB. */
export const rssGrowth = async (pid: number, run: () => Promise<unknown>): Promise<number> => {
  const before = await rssOf(pid);
  let most = before;
  const timer = setInterval(() => void rssOf(pid).then((rss) => (most = Math.max(most, rss))), 50);
  try {
    await run();
  } finally {
    clearInterval(timer);
  }
  most = Math.max(most, await rssOf(pid));
  return (most - before) / 1_000_000;
};
