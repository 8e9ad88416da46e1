import type { Transfer } from '../../protocol/transfers.ts';

/** Rows are told ten times a second, and kept for days: they name so many. */
const SHOWN_SOURCES = 100;

/** The sources that a row names, and how many more there are. */
export const fewOf = (sources: readonly string[]): Pick<Transfer, 'sources' | 'moreSources'> => {
  const more = sources.length - SHOWN_SOURCES;
  return { sources: sources.slice(0, SHOWN_SOURCES), ...(more > 0 ? { moreSources: more } : {}) };
};
