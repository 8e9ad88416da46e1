/** The number of edits (a letter more, less, other, or two swapped) between two words; stops counting above `limit`. */
const distance = (a: string, b: string, limit: number): number => {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let [earlier, before]: number[][] = [[], Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (earlier?.[j - 2] ?? Infinity) + 1 : Infinity;
      row.push(Math.min((before?.[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (before?.[j - 1] ?? 0) + same, swapped));
    }
    [earlier, before] = [before, row];
  }
  return before?.[b.length] ?? 0;
};

/**
 * The candidate that is most like `word`, for "did you mean".
 * @returns undefined where none is near: more than a third of the letters differ.
 */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const away = distance(word.toLowerCase(), candidate.toLowerCase(), limit);
    if (away < bestDistance) [best, bestDistance] = [candidate, away];
  }
  return best;
};
