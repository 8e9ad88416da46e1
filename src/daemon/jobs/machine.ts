import { existsSync } from 'node:fs';

import type { Clock } from '../../kernel/clock.ts';
import { findShell } from '../process/command-line.ts';
import { createEnvironment, type Variables } from '../process/environment.ts';
import { createLoginPath, type LoginPath } from '../process/login-path.ts';
import type { ProcessHost } from '../process/run.ts';
import type { JobHost } from './job.ts';
import type { RunPlace } from './plan.ts';

/** What is known of the machine when the node starts. */
export interface MachineOptions extends RunPlace {
  readonly settings: () => { readonly env: Variables };
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly shell?: string;
  readonly loginPath?: LoginPath;
}

/** The part of every run that the machine gives: its shell, its way to start programs, the environment of children. */
export const createMachine = async (
  options: MachineOptions,
): Promise<Pick<JobHost, 'clock' | 'nodeId' | 'processes' | 'environment'>> => {
  const { clock, facts, settings, platform, variables } = options;
  const { home, user } = facts();
  const source = { platform, variables, home, user };
  const loginPath =
    options.loginPath ?? createLoginPath({ ...source, shell: variables['SHELL'] ?? options.shell, clock });
  const build = createEnvironment(source);
  return {
    clock,
    nodeId: () => facts().nodeId,
    processes: await createProcessHost(platform, variables, clock),
    environment(sent) {
      const path = loginPath.value();
      if (typeof path === 'string') return build(path, settings().env, sent);
      return path.then((captured) => build(captured, settings().env, sent));
    },
  };
};

/** How processes are started here. */
export const createProcessHost = async (
  platform: NodeJS.Platform,
  variables: MachineOptions['variables'],
  clock: Clock,
): Promise<ProcessHost> => {
  const host = { platform, clock, shell: findShell({ platform, variables, exists: existsSync }) };
  if (platform !== 'win32') return host;
  const { default: crossSpawn } = await import('cross-spawn');
  return {
    ...host,
    adapt: ({ file, args }, { env, cwd }) => {
      const parsed = crossSpawn._parse(file, args, { env, cwd });
      // cmd would be asked for what is not found, and has commands of its own.
      if (parsed.file === undefined) return { file, args };
      return { file: parsed.command, args: parsed.args, verbatim: parsed.options.windowsVerbatimArguments ?? false };
    },
  };
};
