/**
 * What a node's program is run with. A node starts many processes, and each start costs in proportion to the memory
 * that the node has touched: a small nursery halves that. Its collections are so short that more threads only cost.
 */
export const NODE_FLAGS: readonly string[] = [
  '--max-semi-space-size=1',
  '--single-threaded-gc',
  '--concurrent-array-buffer-sweeping',
];

/** The same for the C library; not passed on to what the node runs. */
export const NODE_VARIABLES: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '1' };
