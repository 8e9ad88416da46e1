import { decodeJson } from '../../client/client.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { JobOutcome } from '../../protocol/jobs.ts';
import { mismatch, shortTime, type SelftestCheck } from './check.ts';
import { programsOf } from './programs.ts';

const TEXT = 'loopsy: it goes on without whoever began it\n';

/** A detached job is on disk when its id is answered, and can be asked for what it wrote and how it ended. */
export const detached: SelftestCheck = {
  name: 'detached',
  run: async ({ client, peer, platform, signal, clock }) => {
    const begun = clock.monotonicMs();
    const input = { ...programsOf(platform).echo, stdin: TEXT, detach: true };
    const { jobId } = await client.call('job.execute', input, { peer, signal });
    const idMs = clock.monotonicMs() - begun;
    const parts: Buffer[] = [];
    for await (const { type, bytes } of client.stream('job.output', { jobId, since: 0 }, { peer, signal })) {
      if (type === FRAME.stdout) parts.push(Buffer.from(bytes));
      if (type !== FRAME.exit) continue;
      // The node encodes each frame by its schema.
      const { exitCode } = decodeJson(bytes) as JobOutcome;
      const output = Buffer.concat(parts).toString();
      if (exitCode === 0 && output === TEXT)
        return {
          detail: `a job of its own, on disk after ${shortTime(idMs)}; output and exit code kept`,
          figures: { idMs },
        };
      throw mismatch(
        `the job was to write ${JSON.stringify(TEXT)}, and wrote ${JSON.stringify(output)}; exit code ${exitCode}`,
      );
    }
    throw mismatch('the stream ended before the job did');
  },
};
