/** What one transfer takes. */

/** Sources that can be named; a pattern may match as many. */
export const MAX_SOURCES = 10_000;
