import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { JobsOptions } from '../../../src/daemon/jobs/options.ts';
import type { ExecuteInput } from '../../../src/protocol/jobs.ts';
import { sh, type Setup, startJobs } from './setup.ts';

/** The input of a detached run of a line. */
export const detached = (line: string, more: Partial<ExecuteInput> = {}): ExecuteInput => ({
  ...sh(line),
  ...more,
  detach: true,
});

/** The same data folder under the next start of the node. */
export const restart = async ({ jobs, ...old }: Setup, more: Partial<JobsOptions> = {}): Promise<Setup> => {
  await jobs.stop();
  const supervisorsDir = join(old.home, 'supervisors');
  return startJobs(old.settings, { store: old.store, dir: old.dir, supervisorsDir, ...more });
};

/** How the one supervisor is found. */
export const entryFileOf = async ({ home }: Setup): Promise<string> => {
  const [name = ''] = (await readdir(join(home, 'supervisors'))).filter((one) => one.endsWith('.json'));
  return join(home, 'supervisors', name);
};

/** The process of the one supervisor. */
export const supervisorOf = async (setup: Setup): Promise<number> =>
  (JSON.parse(await readFile(await entryFileOf(setup), 'utf8')) as { pid: number }).pid;
