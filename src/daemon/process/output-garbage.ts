import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Output between two collections. */
const COLLECT_BYTES = 4 * 1_048_576;

let passedBytes = 0;
let collect: (() => void) | undefined;

/**
 * Chunks of output lie outside V8's heap, and it lets 32 MB of dead ones pile up before it looks. A collection of the
 * young generation after every 4 MiB (about 0.5 ms) keeps a node that passes on gigabytes as small as one that doesn't.
 */
export const noteOutput = (bytes: number): void => {
  passedBytes += bytes;
  if (passedBytes < COLLECT_BYTES) return;
  passedBytes = 0;
  collect ??= findCollector();
  collect();
};

const findCollector = (): (() => void) => {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc !== 'function') return () => undefined;
  return () => {
    Reflect.apply(gc, undefined, [{ type: 'minor' }]);
  };
};
