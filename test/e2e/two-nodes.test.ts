import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, finished, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';

const statusOf = async (machine: Machine, name: string): Promise<string | undefined> => {
  const { peers } = await machine.json<{ peers: { name: string; status: string }[] }>(['peers']);
  return peers.find((peer) => peer.name === name)?.status;
};

describe.each([true, false])('two nodes, tls.enabled %s', (tls) => {
  let a: Machine;
  let b: Machine;

  beforeAll(async () => {
    const extra = `tls:\n  enabled: ${tls}\n`;
    [a, b] = [await Machine.create('kai', { extra }), await Machine.create('maria', { extra })];
    await connectMachines(a, b);
    await until(async () => (await statusOf(a, 'maria')) === 'online' && (await statusOf(b, 'kai')) === 'online', 5000);
  }, 60_000);

  afterAll(async () => {
    await a?.remove();
    await b?.remove();
  });

  it('know each other by the names of their hosts, and are online', async () => {
    expect(await statusOf(a, 'maria')).toBe('online');
    expect(await statusOf(b, 'kai')).toBe('online');
  });

  it('run a command with flags of its own, and give back its output and exit code', async () => {
    const listed = await a.run(['exec', 'maria', 'ls', '-la', '/']);
    expect(listed).toMatchObject({ code: 0, stderr: '' });
    expect(listed.stdout).toContain(' ..');
    expect(await a.run(['exec', 'maria', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  it('carry bytes exactly, both ways', async () => {
    const bytes = randomBytes(3_000_000);
    await writeFile(join(b.home, 'x.bin'), bytes);
    const out = await a.run(['exec', 'maria', '--', 'cat', 'x.bin']);
    expect(out.code).toBe(0);
    expect(out.bytes.equals(bytes)).toBe(true);
    const echoed = await a.run(['exec', 'maria', '--', 'cat'], bytes);
    expect(echoed.bytes.equals(bytes)).toBe(true);
  });

  it('end the remote run when the reader of its output leaves', async () => {
    const child = a.spawn(['exec', 'maria', '--', 'sh', '-c', 'echo $$; exec yes']);
    const over = once(child, 'close');
    const pid = await new Promise<number>((resolve) =>
      child.stdout?.once('data', (data: Buffer) => resolve(Number.parseInt(data.toString(), 10))),
    );
    child.stdout?.destroy();
    await until(async () => !(await isAlive(pid)), 5000);
    await over;
  });

  it('end the whole remote tree on Ctrl-C', async () => {
    const child = a.spawn(['exec', 'maria', '--', 'sh', '-c', 'sleep 60 & echo $!; wait']);
    const done = finished(child);
    const pid = await new Promise<number>((resolve) =>
      child.stdout?.once('data', (data: Buffer) => resolve(Number.parseInt(data.toString(), 10))),
    );
    expect(await isAlive(pid)).toBe(true);
    child.kill('SIGINT');
    await until(async () => !(await isAlive(pid)), 5000);
    expect((await done).code).toBe(130);
  });

  it('say which error it was with an exit code of its own', async () => {
    expect((await a.run(['exec', 'nobody', '--', 'true'])).code).not.toBe(0);
    const unknown = await a.run(['exec', 'nobody', '--', 'true']);
    expect(unknown.stderr).toContain('maria');
    expect((await a.run(['exec', 'maria', '--', 'rm', '-rf', 'x'])).code).toBe(4);
    expect((await a.run(['exec', 'maria', '--', 'no-such-program'])).code).toBe(2);
    expect((await a.run(['exec', 'maria', '--timeout', '300', '--', 'sleep', '30'])).code).toBe(6);
  });

  it('show a run in the lists of both sides', async () => {
    await a.run(['exec', 'maria', '--', 'echo', 'listed']);
    const { jobs } = await a.json<{ jobs: { command: string; state: string; exitCode: number }[] }>([
      'jobs',
      'list',
      '--peer',
      'maria',
      '--all',
    ]);
    expect(jobs[0]).toMatchObject({ command: 'echo', state: 'ended', exitCode: 0 });
  });
});

describe('presence and removal', () => {
  it('goes offline when the peer stops, online when it is back, and ends when trust ends, told to the other side', async () => {
    const [a, b] = [await Machine.create('one'), await Machine.create('two')];
    try {
      await connectMachines(a, b);
      await until(async () => (await statusOf(a, 'two')) === 'online', 5000);
      await b.run(['stop']);
      expect(await until(async () => (await statusOf(a, 'two')) === 'offline', 10_000)).toBeLessThan(10_000);
      await b.start();
      expect(await until(async () => (await statusOf(a, 'two')) === 'online', 5000)).toBeLessThan(3500);
      expect(await a.json(['peers', 'remove', 'two'])).toMatchObject({ success: true, told: true });
      expect((await b.run(['exec', 'one', '--', 'true'])).code).not.toBe(0);
      await until(async () => (await statusOf(b, 'one')) === 'offline', 10_000);
    } finally {
      await a.remove();
      await b.remove();
    }
  }, 60_000);
});
