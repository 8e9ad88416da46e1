/** Gives everything else that waits its turn. Resolves with 0, for what counts from there. */
export const nextTurn = (): Promise<0> => new Promise((resolve) => setImmediate(resolve, 0));
