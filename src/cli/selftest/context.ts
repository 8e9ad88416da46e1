import { randomBytes } from 'node:crypto';

import { LoopsyError } from '../../protocol/errors.ts';
import { mismatch, shortTime, type Bench, type SelftestCheck } from './check.ts';

const VALUE = 'grüße, 東京 👋\n';
/** Where a check is cut off, nothing of it stays. */
const TTL_S = 60;

/** A key is set there, read, guarded by its revision, seen by a watch, and gone. */
export const context: SelftestCheck = {
  name: 'context',
  run: async (bench) => {
    const { client, peer, clock, signal } = bench;
    const key = `.loopsy-selftest-${randomBytes(4).toString('hex')}`;
    const on = { peer, signal };
    const begun = clock.monotonicMs();
    const { revision } = await client.call('context.set', { key, value: VALUE, ttl: TTL_S }, on);
    const setMs = clock.monotonicMs() - begun;
    const read = await client.call('context.get', { key }, on);
    const getMs = clock.monotonicMs() - begun - setMs;
    if (read.value !== VALUE || read.revision !== revision) throw mismatch('what was read is not what was set');
    await refusesOlder(bench, key);
    if (!(await isWatched(bench, key))) throw mismatch('a watch did not show the key');
    await client.call('context.delete', { key, ifRevision: revision }, on);
    return {
      detail: `a key set in ${shortTime(setMs)} and read in ${shortTime(getMs)}, guarded, watched and deleted`,
      figures: { setMs, getMs },
    };
  },
};

const refusesOlder = async ({ client, peer, signal }: Bench, key: string): Promise<void> => {
  try {
    await client.call('context.set', { key, value: 'older', ifRevision: 0 }, { peer, signal });
  } catch (thrown) {
    if (thrown instanceof LoopsyError && thrown.error === 'context_conflict') return;
    throw thrown;
  }
  throw mismatch('a key was overwritten that should have been there already');
};

const isWatched = async ({ client, peer, signal }: Bench, key: string): Promise<boolean> => {
  for await (const { event } of client.events('context.watch', { key }, { peer, signal })) {
    if (event.type === 'set') return event.entry.value === VALUE;
    if (event.type === 'ready') return false;
  }
  return false;
};
