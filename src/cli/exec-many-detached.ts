import { EXIT } from '../protocol/errors.ts';
import type { ExecuteInput } from '../protocol/jobs.ts';
import type { Cli } from './cli.ts';
import { detachedInput } from './commands/exec-detached.ts';
import { onEach } from './exec-each.ts';
import { allWell, report } from './exec-table.ts';
import { findTargets } from './exec-targets.ts';
import { plain } from './output.ts';

/** Starts a run on each peer that outlives this command: the peer's name and its id, as each is on disk there. */
export const startOnEach = async (cli: Cli, input: ExecuteInput): Promise<number> => {
  const { io, out } = cli;
  const node = await cli.node();
  const targets = await findTargets(cli, node);
  const request = await detachedInput(cli, input);
  const width = Math.max(...targets.map(({ name }) => name.length));
  const endings = await onEach(cli, targets, async ({ name, peer }) => {
    const answer = await node.client.call('job.execute', request, { peer });
    const { jobId, state } = answer;
    out.print(`${plain(name).padEnd(width)}  ${jobId}`);
    if (out.json) out.document({ peer: name, type: 'started', data: answer, jobId, timestamp: io.clock.now() });
    return { jobId, state: state === 'queued' ? 'queued' : 'started' };
  });
  report(cli, endings);
  return allWell(endings) ? EXIT.ok : EXIT.failed;
};
