// `exec` of `true` through a warm node beside a bare spawn; then the same while 1 GB flows over the same link.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';

import { connectMachines, Machine } from '../test/helpers/nodes.ts';
import { interleave, quantile, report, timeMs } from './lib/measure.ts';
import { verifies } from '../test/requirements.ts';

const QUIET = 'rateLimits:\n  execute: 1000000\n';

const [a, b] = [await Machine.create('bench-a', { extra: QUIET }), await Machine.create('bench-b', { extra: QUIET })];
try {
  await connectMachines(a, b);
  const { url, token } = await a.registration();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const post = (path: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const request = http.request(`${url}/api/v1${path}`, {
        agent,
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      });
      request.once('error', reject);
      request.once('response', (response) => {
        response.resume();
        response.once('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
        );
      });
      request.end('{"command":"true"}');
    });
  const bare = (): Promise<void> =>
    new Promise((resolve) => spawn('true', [], { stdio: ['pipe', 'pipe', 'pipe'] }).once('close', () => resolve()));

  const times = await interleave(
    { bare, local: () => post('/execute'), peer: () => post('/execute?peer=bench-b') },
    { rounds: 300, warmUp: 50 },
  );
  report([
    {
      name: verifies('bench.exec-local', 'exec true, local / bare spawn'),
      value: times.local / times.bare,
      unit: 'ratio',
      most: 1.6,
      from: times,
    },
    {
      name: verifies('bench.exec-peer', 'exec true, peer over TLS / bare spawn'),
      value: times.peer / times.bare,
      unit: 'ratio',
      most: 2.2,
      from: times,
    },
  ]);

  const stream = a.spawn(['exec', 'bench-b', '--', 'head', '-c', '1000000000', '/dev/zero']);
  stream.stdout?.resume();
  const beside: number[] = [];
  const over = once(stream, 'close');
  while (stream.exitCode === null) beside.push(await timeMs(() => post('/execute?peer=bench-b')));
  await over;
  report([
    {
      name: verifies('bench.exec-beside-stream', 'exec true beside a 1 GB stream, p95'),
      value: quantile(beside, 0.95),
      unit: 'ms',
      most: 25,
      from: { samples: beside.length },
    },
  ]);
} finally {
  await a.remove();
  await b.remove();
}
