import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Two networks of this machine that one cable joins. */
export interface Networks {
  /** What runs a program in each. */
  readonly within: readonly [readonly string[], readonly string[]];
  readonly addresses: readonly [string, string];
  /** Pulls the cable, or puts it back. */
  cable(state: 'up' | 'down'): Promise<void>;
  remove(): Promise<void>;
}

const ip = async (line: string): Promise<void> => {
  await run('ip', line.split(' '));
};

/** Makes the networks, or says why they can't be made here. */
export const joinNetworks = async (): Promise<Networks | string> => {
  if (process.platform !== 'linux') return 'needs network namespaces';
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  const [one, two] = [`loopsy-${process.pid}-a`, `loopsy-${process.pid}-b`];
  const ends = [`lpa${process.pid}`, `lpb${process.pid}`];
  const addresses = ['10.79.0.1', '10.79.0.2'] as const;
  const remove = async (): Promise<void> => {
    for (const name of [one, two]) await ip(`netns del ${name}`).catch(() => undefined);
  };
  try {
    for (const name of [one, two]) await ip(`netns add ${name}`);
    await ip(`link add ${ends[0]} netns ${one} type veth peer name ${ends[1]} netns ${two}`);
    for (const [at, name] of [one, two].entries()) {
      await ip(`-n ${name} addr add ${addresses[at]}/24 dev ${ends[at]}`);
      await ip(`-n ${name} link set lo up`);
      await ip(`-n ${name} link set ${ends[at]} up`);
    }
  } catch (error) {
    await remove();
    return `needs ip and network namespaces (${error instanceof Error ? error.message.trim() : String(error)})`;
  }
  return {
    within: [
      ['ip', 'netns', 'exec', one],
      ['ip', 'netns', 'exec', two],
    ],
    addresses,
    cable: (state) => ip(`-n ${two} link set ${ends[1]} ${state}`),
    remove,
  };
};
