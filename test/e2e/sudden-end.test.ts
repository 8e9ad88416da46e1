import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';

import { clientOf, readRun } from '../helpers/links.ts';
import { connectMachines, freePort, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { randomFrom, seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const ROUNDS = LONG ? 20 : 6;

const machines: Machine[] = [];
const make = async (...given: Parameters<typeof Machine.create>): Promise<Machine> => {
  const machine = await Machine.create(...given);
  machines.push(machine);
  return machine;
};

afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
}, 60_000);

const LEVELS = ['observe', 'collaborate', 'full'] as const;

describe('kill -9 of the node', () => {
  const often = `${ROUNDS} times at random moments${LONG ? '' : ' (20 in test:long)'}`;
  it(
    verifies(
      ['fault.kill', 'kernel.lock'],
      `${often}: each next start is clean, and all that was acknowledged is there`,
    ),
    { timeout: 120_000 },
    async () => {
      const random = randomFrom(seedOfRun('kill -9'));
      const [a, b] = [await make('struck'), await make('witness')];
      await connectMachines(a, b);
      const keys = new Set<string>();
      let levels: string[] = ['full'];
      let boot = '';
      for (let round = 0; round < ROUNDS; round += 1) {
        const { pid, ...registered } = await a.registration();
        expect(registered).not.toMatchObject({ boot });
        ({ boot } = registered as unknown as { boot: string });
        const client = await clientOf(a);
        const struck = new AbortController();
        const { signal } = struck;
        const works = [
          (async () => {
            for (let n = 0; !signal.aborted; n += 1) {
              const name = `key-${round}-${n}`;
              await client.call('key.add', { name });
              keys.add(name);
            }
          })(),
          (async () => {
            for (let n = 0; !signal.aborted; n += 1) {
              const level = LEVELS[n % 3] ?? 'full';
              // Until it is acknowledged, the old one or the new one may hold.
              levels = [...levels.slice(-1), level];
              await client.call('peer.grant', { nodeId: 'witness', level });
              levels = [level];
            }
          })(),
          ...Array.from({ length: 3 }, async () => {
            for (;;) await client.call('job.execute', { command: 'echo $$; sleep 0.05', shell: true });
          }),
          readRun(client.stream('job.stream', { command: 'yes' })),
        ];
        const ended = Promise.allSettled(works);
        // However slow the disk is: something has been acknowledged, and is not to be lost.
        const before = keys.size;
        await until(() => keys.size > before + 1, 10_000);
        await new Promise((resolve) => setTimeout(resolve, random() * 450));
        process.kill(pid, 'SIGKILL');
        struck.abort();
        await ended;
        const started = await a.run(['start']);
        expect([started.code, started.stderr]).toEqual([0, '']);
        const after = await clientOf(a);
        const { peers } = await after.call('peer.list', {});
        expect(peers).toMatchObject([{ name: 'witness', trusted: true }]);
        expect(levels).toContain(peers[0]?.grant?.level);
        levels = [String(peers[0]?.grant?.level)];
        const known = new Set((await after.call('key.list', {})).keys.map(({ name }) => name));
        expect([...keys].filter((name) => !known.has(name))).toEqual([]);
        // What ran when the node was struck is over, and said to be lost.
        const { jobs } = await after.call('job.list', { state: 'all', limit: 1000 });
        expect(jobs.filter(({ state }) => state !== 'ended')).toEqual([]);
        const lost = jobs.filter((job) => job.endedBy === 'lost' && job.pid !== undefined);
        await until(
          async () => (await Promise.all(lost.map(({ pid: run = 0 }) => isAlive(run)))).every((lives) => !lives),
          5000,
        );
      }
      console.log(`kill -9: ${ROUNDS} rounds, ${keys.size} keys acknowledged`);
      expect(keys.size).toBeGreaterThan(ROUNDS);
      await until(async () => (await (await clientOf(a)).call('peer.list', {})).peers[0]?.status === 'online', 10_000);
      expect(await a.log()).not.toMatch(/uncaught|unhandled/);
    },
  );

  it(
    verifies('data.pid', 'and a reused pid in its files: the stranger is left alone, by start and by stop'),
    async () => {
      const a = await make('reused');
      const { pid, ...registration } = await a.registration();
      process.kill(pid, 'SIGKILL');
      await until(async () => !(await isAlive(pid)), 5000);
      const stranger = spawn('sleep', ['60']);
      await once(stranger, 'spawn');
      try {
        await writeFile(a.path('daemon.pid'), `${stranger.pid}\n`);
        await writeFile(a.path('node.json'), JSON.stringify({ ...registration, pid: stranger.pid }));
        expect((await a.run(['stop'])).code).toBe(3);
        await a.start();
        expect((await a.registration()).pid).not.toBe(stranger.pid);
        expect((await readFile(a.path('daemon.pid'), 'utf8')).trim()).toBe(String((await a.registration()).pid));
        await a.run(['stop']);
        expect(await isAlive(stranger.pid ?? 0)).toBe(true);
      } finally {
        stranger.kill();
      }
    },
  );
});

describe('a start', () => {
  it('clears away the drafts that killed ones left, however many', async () => {
    const a = await make('drafts', { start: false });
    const hourAgo = new Date(Date.now() - 3_600_000);
    const drafts = Array.from({ length: 35 }, (_, n) => `.node.json.${String(n).padStart(12, '0')}.tmp`);
    for (const name of drafts) {
      await writeFile(a.path(name), '{');
      await utimes(a.path(name), hourAgo, hourAgo);
    }
    await writeFile(a.path('.config.yaml.0123456789ab.tmp'), 'a command is at work on it');
    await a.start();
    expect((await readdir(a.path())).filter((name) => name.endsWith('.tmp'))).toEqual([
      '.config.yaml.0123456789ab.tmp',
    ]);
    await until(async () => (await a.log()).includes('"removed":35'), 2000);
  });

  it(
    verifies('fault.two-starts', 'at the same moment as three others makes one node, and all four say so'),
    async () => {
      const a = await make('crowd', { start: false });
      const starts = await Promise.all([1, 2, 3, 4].map(() => a.run(['start', '--json'])));
      expect(starts.map(({ code, stderr }) => [code, stderr])).toEqual(starts.map(() => [0, '']));
      const pids = new Set(starts.map(({ stdout }) => (JSON.parse(stdout) as { pid: number }).pid));
      expect([...pids]).toEqual([(await a.registration()).pid]);
      await until(async () => (await a.log()).includes('"node started"'), 2000);
      expect((await a.log()).match(/"node started"/g)).toHaveLength(1);
    },
  );

  it(
    verifies('fault.port-taken', 'on a port that another program or node holds fails, exit 1, and names the holder'),
    async () => {
      const port = await freePort();
      const server: Server = createServer((socket) => socket.end('220 not a node\r\n'));
      await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
      const a = await make('late', { start: false });
      const first = (await readFile(a.path('config.yaml'), 'utf8')).replace(/^ {2}port: \d+$/m, `  port: ${port}`);
      await writeFile(a.path('config.yaml'), first);
      try {
        const taken = await a.run(['start']);
        expect(taken.code).toBe(1);
        expect(taken.stderr).toContain(`port ${port} is taken by`);
        if (process.platform === 'linux') expect(taken.stderr).toContain(`pid ${process.pid}`);
      } finally {
        server.close();
      }
      const b = await make('early');
      const held = await b.registration();
      await writeFile(a.path('config.yaml'), first.replace(`port: ${port}`, `port: ${held.port}`));
      const beside = await a.run(['start']);
      expect(beside.code).toBe(1);
      expect(beside.stderr).toContain(`port ${held.port} is taken by another loopsy node`);
      expect(beside.stderr).toContain(held.nodeId);
      await writeFile(a.path('config.yaml'), first);
      await a.start();
    },
  );
});
