import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { jsonOf } from '../helpers/e2e-shapes.ts';
import { connectMachines, finished, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const PEER_RATE = 'rateLimits:\n  context: 5\n';

let kai: Machine;
let maria: Machine;

beforeAll(async () => {
  kai = await Machine.create('kai');
  maria = await Machine.create('maria', { extra: PEER_RATE });
  await connectMachines(kai, maria);
}, 60_000);

afterAll(async () => {
  for (const machine of [kai, maria]) await machine?.remove();
});

interface Running {
  readonly ended: ReturnType<typeof finished>;
}

/** Begins a command, and ends the node suddenly when it says that it waits. */
const whileItWaits = async (args: readonly string[], word: string, input = ''): Promise<Running> => {
  const { pid } = await kai.registration();
  const child = kai.spawn(args, { stdin: 'pipe' });
  child.stdin?.end(input);
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const ended = finished(child);
  await until(() => Promise.resolve(said.includes(word)), 20_000);
  process.kill(pid, 'SIGKILL');
  // Not the end itself: an async function would wait for it.
  return { ended };
};

describe('a command whose node ends while it waits', () => {
  it(
    verifies('cli.context.lease-away', 'for a lease: never has it without having it, and has it when it can'),
    { timeout: 60_000 },
    async () => {
      await jsonOf(kai, 'lease.acquire', ['context', 'lease', 'acquire', 'deploy', '--ttl', '1h']);
      const acquire = ['context', 'lease', 'acquire', 'deploy'];
      const first = await whileItWaits([...acquire, '--wait', '3s'], 'waiting:');
      expect(await first.ended).toMatchObject({ code: 3, stdout: '' });
      await kai.start();
      const second = await whileItWaits([...acquire, '--wait', '50s'], 'waiting:');
      await kai.start();
      expect((await kai.run(['context', 'lease', 'release', 'deploy'])).code).toBe(0);
      expect(await second.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('You hold deploy') });
    },
  );

  it(
    verifies('cli.context.lease-away', 'for the rate of an import: says how far it came, and fails'),
    { timeout: 60_000 },
    async () => {
      const lines = Array.from({ length: 30 }, (_, at) => JSON.stringify({ key: `k${at}`, value: 'v' })).join('\n');
      const given = await (await whileItWaits(['context', 'import', '--peer', 'maria'], 'as fast as', lines)).ended;
      expect(given.code).not.toBe(0);
      expect(given.stderr).toMatch(/\d+ keys? (?:is|are) set/);
      await kai.start();
    },
  );
});
