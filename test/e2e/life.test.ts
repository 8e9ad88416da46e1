import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { systemClock } from '../../src/kernel/clock.ts';
import { nodePaths } from '../../src/config/paths.ts';
import { openConfigStore } from '../../src/config/store.ts';
import { createLog } from '../../src/kernel/log.ts';
import { shapeOf } from '../helpers/e2e-shapes.ts';
import { CLI, finished, type Finished, freePort, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

const makeMachine = async (...args: Parameters<typeof Machine.create>): Promise<Machine> => {
  const machine = await Machine.create(...args);
  onTestFinished(() => machine.remove());
  return machine;
};

/** A command with an environment of its own. */
const loopsy = (args: readonly string[], env: Record<string, string>): Promise<Finished> =>
  finished(
    spawn(process.execPath, [CLI, ...args], {
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );

const healthAt = async (url: string): Promise<number> => {
  try {
    return (await fetch(`${url}/api/v1/health`)).status;
  } catch {
    return 0;
  }
};

/** The modes of a folder and all that is in it, by their paths. */
const modesOf = async (folder: string): Promise<Record<string, string>> => {
  const names = ['', ...(await readdir(folder, { recursive: true }))];
  const modes = names.map(async (name) => [name, ((await stat(join(folder, name))).mode & 0o777).toString(8)] as const);
  return Object.fromEntries(await Promise.all(modes));
};

describe('a node, from init to stop', () => {
  it(
    verifies(
      ['cli.port-env', 'cli.data-dir', 'config.server.port', 'fault.root'],
      'takes its port and folder from option, environment, config',
    ),
    async () => {
      const home = await tempFolder();
      const [port, other] = [await freePort(), await freePort()];
      const at = { HOME: home, LOOPSY_DATA_DIR: join(home, 'wrong') };
      const where = ['--data-dir', join(home, 'here'), '--json'];
      const init = await loopsy(['init', '--no-mcp', ...where], { ...at, LOOPSY_PORT: String(port) });
      // Root is told so, and served.
      expect([init.code, init.stderr.includes('this is root')]).toEqual([0, process.getuid?.() === 0]);
      expect(await readFile(join(home, 'here', 'config.yaml'), 'utf8')).toMatch(new RegExp(`^ +port: ${port}\\b`, 'm'));
      const started = async (env: object): Promise<number> => {
        const { stdout } = await loopsy(['start', '--local-only', ...where], { ...at, ...env });
        const { port: taken } = shapeOf('system.status', JSON.parse(stdout));
        expect(await healthAt(`http://127.0.0.1:${taken}`)).toBe(200);
        await loopsy(['stop', ...where], at);
        return taken;
      };
      expect(await started({})).toBe(port);
      expect(await started({ LOOPSY_PORT: String(other) })).toBe(other);
      expect(existsSync(join(home, 'wrong'))).toBe(false);
    },
  );

  it(
    verifies(
      ['config.server.host', 'cli.start-where'],
      'listens where server.host says; 0.0.0.0 is both families; --local-only and --lan win',
    ),
    async () => {
      const machine = await makeMachine('host', { start: false });
      const config = await readFile(machine.path('config.yaml'), 'utf8');
      await writeFile(machine.path('config.yaml'), config.replace('host: 127.0.0.1', 'host: 0.0.0.0'));
      const upWith = async (...args: string[]): Promise<{ port: number; listening: string[] }> =>
        machine.json(['start', ...args]);
      const all = await upWith();
      expect(await healthAt(`http://127.0.0.1:${all.port}`)).toBe(200);
      const v6 = Object.values(networkInterfaces())
        .flat()
        .some((face) => face?.address === '::1');
      if (v6) expect(await healthAt(`http://[::1]:${all.port}`)).toBe(200);
      const lan = Object.values(networkInterfaces())
        .flat()
        .find((face) => face?.internal === false && face.family === 'IPv4');
      // From the network, plain HTTP gets one line that says so.
      if (lan !== undefined) expect(await healthAt(`http://${lan.address}:${all.port}`)).toBe(426);
      await machine.run(['stop']);
      const local = await upWith('--local-only');
      expect(local.listening.every((address) => /^(?:127\.0\.0\.1|\[::1\]):/.test(address))).toBe(true);
      if (lan !== undefined) expect(await healthAt(`http://${lan.address}:${local.port}`)).toBe(0);
      await machine.run(['stop']);
      await writeFile(machine.path('config.yaml'), config);
      expect((await upWith('--lan')).listening.length).toBeGreaterThanOrEqual(all.listening.length);
    },
  );

  it(verifies('cli.stop', 'stop ends it and everything it runs'), async () => {
    const machine = await makeMachine('stops');
    const run = machine.spawn(['exec', 'localhost', '--', 'sh', '-c', 'sleep 60 & echo $$ $!; wait']);
    const over = finished(run);
    const [said] = await once(run.stdout ?? run, 'data');
    const pids = String(said).trim().split(' ').map(Number);
    const { url, pid: node } = await machine.registration();
    expect((await machine.run(['stop'])).code).toBe(0);
    expect(await isAlive(node)).toBe(false);
    expect(await Promise.all(pids.map(isAlive))).toEqual([false, false]);
    expect([
      await healthAt(url),
      existsSync(machine.path('node.json')),
      existsSync(machine.path('daemon.pid')),
    ]).toEqual([0, false, false]);
    expect((await over).code).toBe(5);
  });

  it(verifies('cli.start-foreground', '--foreground stays, shows its log, and ends with the node'), async () => {
    const machine = await makeMachine('front', { start: false });
    const front = machine.spawn(['start', '--foreground']);
    const over = finished(front);
    await until(async () => existsSync(machine.path('node.json')), 10_000);
    expect((await machine.run(['status'])).code).toBe(0);
    front.kill('SIGTERM');
    const { code, stderr } = await over;
    expect(code).toBe(0);
    expect(stderr).toContain('"event":"node started"');
    expect((await machine.run(['status'])).code).toBe(3);
  });

  it(
    verifies(
      ['data.files', 'data.modes', 'data.pid'],
      'keeps its data in private files of known names, and never believes its pid file',
    ),
    async ({ skip }) => {
      skip(process.platform === 'win32', 'Windows has no modes');
      const machine = await makeMachine('files');
      await machine.run(['exec', 'localhost', '--', 'echo', 'x']);
      await machine.run(['key', 'add', 'ci']);
      const modes = await modesOf(machine.path());
      const expected = [
        'config.yaml',
        'loopsy.db',
        'trust.db',
        'jobs',
        'logs',
        'logs/audit.jsonl',
        'logs/node.log',
        'daemon.pid',
        'node.lock',
        'node.json',
        'tls',
        'tls/cert.pem',
        'tls/key.pem',
        'agent.json',
      ];
      expect(Object.keys(modes)).toEqual(expect.arrayContaining(expected));
      for (const [name, mode] of Object.entries(modes)) {
        const isFolder = (await stat(machine.path(name))).isDirectory();
        expect([name, mode]).toEqual([name, isFolder ? '700' : '600']);
      }
      const { pid } = await machine.registration();
      expect((await readFile(machine.path('daemon.pid'), 'utf8')).trim()).toBe(String(pid));
      await machine.run(['stop']);
      // Another process has that id by now.
      await writeFile(machine.path('daemon.pid'), `${process.pid}\n`);
      await machine.start();
      expect((await machine.run(['stop'])).code).toBe(0);
      expect(await isAlive(process.pid)).toBe(true);
    },
  );

  it(
    verifies('config.two-writers', 'node and command change the same config and keep each other’s change'),
    async () => {
      const machine = await makeMachine('two');
      const paths = nodePaths(machine.path());
      const log = createLog({ level: 'error', clock: systemClock, write: () => undefined });
      const store = await openConfigStore({ source: { paths }, clock: systemClock, log });
      await mkdir(machine.path('logs'), { recursive: true });
      await Promise.all([
        store.change({ 'execution.maxQueued': 7 }),
        machine.run(['key', 'generate', '--reveal']),
        store.change({ 'jobs.keepDays': 3 }),
        machine.run(['key', 'generate', '--reveal']),
      ]);
      const text = await readFile(machine.path('config.yaml'), 'utf8');
      expect(text).toMatch(/maxQueued: 7/);
      expect(text).toMatch(/keepDays: 3/);
      expect(text).toContain((await machine.run(['key', 'show', '--reveal'])).stdout.trim());
      expect(text).toContain('# a guard against accidents');
    },
  );
});
