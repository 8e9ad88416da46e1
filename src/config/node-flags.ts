/**
 * What a node's program is run with. A node starts many processes, and each start costs in proportion to the memory
 * that the node has touched: a small nursery halves that. Its collections are so short that more threads only cost.
 */
export const NODE_FLAGS: readonly string[] = ['--single-threaded-gc', '--concurrent-array-buffer-sweeping'];

/**
 * What the node's program asks of V8 itself: the nursery stays at the 1 MiB that it starts with. On the command line
 * this, as any limit of the nursery, would make V8 refuse the bytecode of Node's own modules: 20 ms of a start.
 */
export const LATER_FLAGS: readonly string[] = ['--semi-space-growth-factor=1'];

/** The same for the C library; not passed on to what the node runs. */
export const NODE_VARIABLES: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '1' };
