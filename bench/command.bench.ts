// Whole commands, as a person or a script runs them: beside a new ssh and beside a bare `node -e 0`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

import { CLI, connectMachines, environment, Machine } from '../test/helpers/nodes.ts';
import { interleave, report, rssGrowth, unmeasured } from './lib/measure.ts';
import { NO_SSHD, startSshd } from './lib/sshd.ts';
import { verifies } from '../test/requirements.ts';

const QUIET = 'rateLimits:\n  execute: 1000000\n';
const GIGABYTE = 1_073_741_824;
const EXEC_BESIDE_SSH = verifies('bench.cli-exec', 'loopsy exec peer true / new ssh');
const STREAM_BESIDE_SSH = verifies('bench.cli-stream', 'exec 1 GiB, rate / ssh');

const [a, b] = [await Machine.create('bench-a', { extra: QUIET }), await Machine.create('bench-b', { extra: QUIET })];
const sshd = await startSshd();
try {
  await connectMachines(a, b);
  // One environment for all: what a program inherits here (more certificates, options of Node) slows some of them only.
  const env = environment(a.home);
  const run = async (program: string, args: readonly string[]): Promise<void> => {
    const child = spawn(program, args, { env, cwd: a.home, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.resume();
    const said = text(child.stderr);
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${await said}`);
  };
  const command = (...args: readonly string[]): Promise<void> => run(process.execPath, [CLI, ...args]);
  const ssh = (...remote: readonly string[]): Promise<void> => run('ssh', [...(sshd?.args ?? []), ...remote]);
  const times = await interleave(
    {
      bare: () => run(process.execPath, ['-e', '0']),
      status: () => command('status'),
      exec: () => command('exec', 'bench-b', '--', 'true'),
      ssh: () => (sshd === undefined ? Promise.resolve() : ssh('true')),
    },
    { rounds: 41, warmUp: 3 },
  );
  report([
    {
      name: verifies('bench.cli-status', 'loopsy status / node -e 0'),
      value: times.status / times.bare,
      unit: 'ratio',
      most: 1.6,
      from: times,
    },
    {
      name: verifies('bench.cli-exec', 'loopsy exec peer true / node -e 0'),
      value: times.exec / times.bare,
      unit: 'ratio',
      most: 2,
      from: times,
    },
    ...(sshd === undefined
      ? []
      : [
          {
            name: EXEC_BESIDE_SSH,
            value: times.exec / times.ssh,
            unit: 'ratio',
            most: 0.4,
            from: times,
          },
        ]),
  ]);

  if (sshd === undefined) unmeasured([EXEC_BESIDE_SSH, STREAM_BESIDE_SSH], NO_SSHD);
  else {
    const bytes = ['head', '-c', String(GIGABYTE), '/dev/zero'];
    const rates = await interleave(
      { exec: () => command('exec', 'bench-b', '--', ...bytes), ssh: () => ssh(...bytes) },
      { rounds: 5, warmUp: 1 },
    );
    report([
      {
        name: STREAM_BESIDE_SSH,
        value: rates.ssh / rates.exec,
        unit: 'ratio',
        least: 0.5,
        from: rates,
      },
    ]);
  }
  for (const [role, machine] of Object.entries({ calling: a, running: b })) {
    const { pid } = await machine.registration();
    const value = await rssGrowth(pid, () =>
      command('exec', 'bench-b', '--', 'head', '-c', String(GIGABYTE), '/dev/zero'),
    );
    const name = verifies('bench.cli-stream', `growth of the ${role} node's memory while 1 GiB passes`);
    report([{ name, value, unit: 'MB', most: 50 }]);
  }
} finally {
  await sshd?.stop();
  await a.remove();
  await b.remove();
}
