/** Random numbers below 1 (mulberry32), so that a seed repeats a run. */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** The seed of this run, which is printed: `SEED=<n>` repeats it. */
export const seedOfRun = (what: string): number => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  console.log(`${what}: SEED=${seed}`);
  return seed;
};
