import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const MiB = 1_048_576;
/** Bytes between two collections. */
const COLLECT_BYTES = 4 * MiB;
/** Dead chunks in memory above which the old generation is looked through too. */
const MUCH_BYTES = 24 * MiB;

interface Collector {
  readonly young: () => void;
  readonly all: () => void;
}

let passedBytes = 0;
/** What was alive when all was last looked through. */
let aliveBytes = 0;
let collector: Collector | undefined;

/**
 * Bytes that pass lie outside V8's heap, and it lets 32 MB of dead ones pile up before it looks. A collection of the
 * young generation after every 4 MiB (about 0.5 ms) keeps a node that passes on gigabytes as small as one that doesn't.
 * Where many runs write at once, chunks grow old while they wait for the disk: then all is looked through (5 to 20 ms).
 * `everyBytes`: less often where chunks are dead at once, so that few are looked at in vain.
 */
export const notePassing = (bytes: number, everyBytes = COLLECT_BYTES): void => {
  passedBytes += bytes;
  if (passedBytes < everyBytes) return;
  passedBytes = 0;
  collector ??= findCollector();
  collector.young();
  if (process.memoryUsage().arrayBuffers < aliveBytes + MUCH_BYTES) return;
  collector.all();
  // It is in use: to look again before there is as much beside it would find nothing.
  aliveBytes = process.memoryUsage().arrayBuffers;
};

const findCollector = (): Collector => {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc !== 'function') return { young: () => undefined, all: () => undefined };
  return {
    young: () => void Reflect.apply(gc, undefined, [{ type: 'minor' }]),
    // Any option means the young generation to V8 of Node 20.
    all: () => void Reflect.apply(gc, undefined, []),
  };
};
