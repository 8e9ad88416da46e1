// From `start` to the first answer, and what an idle node weighs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';

import { NODE_FLAGS, NODE_VARIABLES } from '../src/config/node-flags.ts';
import { DAEMON, freePort, Machine } from '../test/helpers/nodes.ts';
import { interleave, report, rssOf } from './lib/measure.ts';
import { verifies } from '../test/requirements.ts';

const IDLE_MS = 60_000;

const isUp = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const request = http.get({ host: '127.0.0.1', port, path: '/api/v1/health' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('error', () => resolve(false));
  });

const machine = await Machine.create('bench-node', { start: false });
try {
  const port = await freePort();
  const env = {
    ...NODE_VARIABLES,
    PATH: process.env['PATH'],
    HOME: machine.home,
    LOOPSY_DATA_DIR: machine.path(),
    LOOPSY_PORT: String(port),
  };
  const ready = async (): Promise<void> => {
    const child = spawn(process.execPath, [...NODE_FLAGS, DAEMON], { env, stdio: 'ignore' });
    while (!(await isUp(port))) await new Promise((resolve) => setTimeout(resolve, 1));
    after.push(async () => {
      child.kill();
      await once(child, 'close');
    });
  };
  const after: (() => Promise<void>)[] = [];
  const times = await interleave(
    {
      bare: async () => void (await once(spawn(process.execPath, ['-e', '0'], { env, stdio: 'ignore' }), 'close')),
      ready,
      down: async () => after.pop()?.(),
    },
    { rounds: 15, warmUp: 2 },
  );
  report([
    {
      name: verifies('bench.ready', 'node ready / node -e 0'),
      value: times.ready / times.bare,
      unit: 'ratio',
      most: 5,
      from: times,
    },
  ]);

  await machine.start();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const { pid } = await machine.registration();
  report([
    {
      name: verifies('bench.idle', 'memory of an idle node after 60 s'),
      value: (await rssOf(pid)) / 1_000_000,
      unit: 'MB',
      most: 75,
    },
  ]);
} finally {
  await machine.remove();
}
