import { median, shortTime, type SelftestCheck } from './check.ts';
import { COMMAND_CHECKS } from './commands.ts';
import { context } from './context.ts';
import { detached } from './detached.ts';
import { files } from './files.ts';
import { messages } from './messages.ts';

const ROUNDS = 5;

/** The node answers, and how fast. */
const way: SelftestCheck = {
  name: 'way',
  first: true,
  run: async ({ client, peer, signal, clock }) => {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const begun = clock.monotonicMs();
      if (peer === undefined) await client.call('system.health', {}, { signal });
      const ping = peer === undefined ? undefined : await client.call('peer.ping', { nodeId: peer }, { signal });
      times.push(ping?.latencyMs ?? clock.monotonicMs() - begun);
    }
    const pingMs = median(times);
    return { detail: `${shortTime(pingMs)} there and back (median of ${ROUNDS})`, figures: { pingMs } };
  },
};

/** Everything that the self-test tries, in order. */
export const CHECKS: readonly SelftestCheck[] = [way, ...COMMAND_CHECKS, detached, files, context, messages];
