import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';

import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';

import { connectMachines, environment, finished, freePort, CLI, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

/** A machine that ends with the test. */
const machineOf = async (...args: Parameters<typeof Machine.create>): Promise<Machine> => {
  const machine = await Machine.create(...args);
  onTestFinished(() => machine.remove());
  return machine;
};

describe('who comes from loopsy 1', () => {
  it(
    verifies(['config.import', 'config.v1'], 'is told what to say, says it, and has a node with their settings'),
    async () => {
      const machine = await machineOf('import', { start: false });
      const port = /^ {2}port: (\d+)$/m.exec(await readFile(machine.path('config.yaml'), 'utf8'))?.[1] ?? '';
      await writeFile(
        machine.path('config.yaml'),
        `server:\n  port: ${port}\n  host: 127.0.0.1\nauth:\n  apiKey: old\n`,
      );
      await mkdir(machine.path('tls'), { recursive: true });
      await writeFile(machine.path('tls', 'key.pem'), 'the key of loopsy 1');
      const refused = await machine.run(['start']);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('`loopsy init --import`')]);
      const { code, stdout } = await machine.run(['init', '--import']);
      expect([code, stdout]).toEqual([0, expect.stringContaining('auth.apiKey: a new key was made')]);
      expect(stdout).toContain(`kept as ${machine.path('config.yaml.loopsy1')}`);
      await machine.start();
      expect(await machine.json(['status'])).toMatchObject({ port: Number(port), tls: true });
      expect(await machine.json(['init', '--import'])).toMatchObject({ created: false });
    },
  );
});

describe('up', () => {
  it(verifies('cli.up', 'sets up, starts and says what to do next; again it changes nothing'), async () => {
    const home = await tempFolder();
    const port = await freePort();
    const run = (...args: string[]) =>
      finished(
        spawn(process.execPath, [CLI, ...args], {
          env: { ...environment(home), LOOPSY_PORT: String(port) },
          cwd: home,
        }),
      );
    onTestFinished(async () => void (await run('stop')));
    const first = await run('up');
    expect([first.code, first.stdout]).toEqual([0, expect.stringMatching(/Set up in .*Started\..*Next: `loopsy /s)]);
    const again = await run('up');
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^✓ Was running already\..*Next: /s)]);
    const document = await run('up', '--json');
    expect(JSON.parse(document.stdout)).toMatchObject({ created: false, started: false, status: { port } });
    await run('stop');
    expect((await run('up')).stdout).toMatch(/^✓ Started\./);
  });
});

describe('selftest', () => {
  it(
    verifies('cli.selftest', 'is all green on this node and on a peer, with figures, and leaves nothing behind'),
    async () => {
      const [a, b] = [await machineOf('selfa'), await machineOf('selfb')];
      await connectMachines(a, b);
      const here = await a.run(['selftest']);
      expect([here.code, here.stdout]).toEqual([0, expect.stringMatching(/^All 11 checks passed, in /m)]);
      const there = await a.json<{ ok: boolean; checks: { name: string; figures?: Record<string, number> }[] }>([
        'selftest',
        'selfb',
      ]);
      expect(there).toMatchObject({ peer: 'selfb', ok: true });
      const figures = Object.assign({}, ...there.checks.map((check) => check.figures ?? {}));
      expect(figures).toEqual({
        pingMs: expect.any(Number),
        // All of them, or as many as came in its time.
        bytes: expect.any(Number),
        latencyMs: expect.any(Number),
        wayMs: expect.any(Number),
        bytesPerSecond: expect.any(Number),
        idMs: expect.any(Number),
        filesMs: expect.any(Number),
        setMs: expect.any(Number),
        getMs: expect.any(Number),
        deliveredMs: expect.any(Number),
      });
      expect(await b.json(['jobs', 'list'])).toMatchObject({ jobs: [] });
      expect(await b.json(['context', 'list'])).toEqual({ entries: [] });
      // What was sent was taken and acknowledged: no letter is dead behind it, and nothing waits.
      for (const machine of [a, b]) {
        expect((await machine.run(['message', 'outbox', '--dead'])).stdout).toBe('No message is dead.\n');
        expect((await machine.run(['message', 'inbox', '--peek'])).stdout).toBe('Nothing waits to be read.\n');
        const { messages } = await machine.json<{ messages: { state: string }[] }>(['message', 'inbox', '--all']);
        expect(messages.map(({ state }) => state)).toEqual(['acked']);
      }
    },
  );

  it(verifies('cli.selftest', 'fails where the peer lets nothing run, or is down, and says so'), async () => {
    const [a, b] = [await machineOf('selfc'), await machineOf('selfd')];
    await connectMachines(a, b);
    await b.json(['peers', 'grant', 'selfc', 'observe']);
    const refused = await a.run(['selftest', 'selfd']);
    expect([refused.code, refused.stdout]).toEqual([
      1,
      expect.stringMatching(/✓ way .*✗ command .*10 of 11 checks failed/s),
    ]);
    await b.run(['stop']);
    const down = await a.run(['selftest', 'selfd']);
    expect([down.code, down.stdout]).toEqual([1, expect.stringMatching(/✗ way .*- cancel +not tried/s)]);
  });
});

it(verifies('error.9002', "a peer's 429 says when to come again, whichever way it was asked"), async () => {
  const [a, b] = [await machineOf('asks'), await machineOf('limits', { extra: 'rateLimits:\n  execute: 1\n' })];
  await connectMachines(a, b);
  const ask = (route: string) => a.fetch('POST', `${route}?peer=limits`, { command: 'true' });
  expect((await ask('/execute')).status).toBe(200);
  for (const route of ['/execute', '/execute/stream']) {
    const refused = await ask(route);
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
  }
});

describe('uninstall', () => {
  it(
    verifies('cli.uninstall', 'asks first; then runs, node and data are gone, and the last line names the package'),
    async () => {
      const [a, b] = [await machineOf('gone'), await machineOf('stays')];
      await connectMachines(a, b);
      await writeFile(a.path('notes.txt'), 'mine');
      const { pid } = await a.registration();
      const asked = await a.run(['uninstall']);
      expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining('loopsy uninstall --yes')]);
      expect((await a.run(['status'])).code).toBe(0);

      const started = await a.fetch('POST', '/execute', { command: 'sleep', args: ['300'], detach: true });
      const { jobId } = z.object({ jobId: z.string() }).parse(await started.json());
      const run = async (): Promise<number> => {
        const { pid: child } = await a.json<{ pid?: number }>(['jobs', 'show', jobId]);
        return child ?? run();
      };
      const child = await run();
      const done = await a.run(['uninstall', '--yes']);
      expect([done.code, done.stderr]).toEqual([0, '']);
      expect(done.stdout).toMatch(
        /running node .*1 run of commands.*Not loopsy's.*notes\.txt.*1 peer will still list.*Removed/s,
      );
      expect(await readdir(a.path())).toEqual(['notes.txt']);
      for (const one of [pid, child]) expect(await isAlive(one)).toBe(false);
      const again = await a.run(['uninstall', '--yes']);
      expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('does not look like')]);
      expect(await b.json(['status'])).toMatchObject({ peers: { total: 1 } });
    },
  );

  it('removes nothing where detached runs go on and can not be ended, and says which process has them', async () => {
    const a = await machineOf('kept');
    const started = await a.fetch('POST', '/execute', { command: 'sleep', args: ['300'], detach: true });
    const { jobId } = z.object({ jobId: z.string() }).parse(await started.json());
    expect((await a.run(['stop'])).code).toBe(0);
    const [entry = ''] = (await readdir(a.path('supervisors'))).filter((name) => name.endsWith('.json'));
    const supervisor = z
      .object({ pid: z.number() })
      .parse(JSON.parse(await readFile(a.path('supervisors', entry), 'utf8')));
    await a.edit('version: 2', 'version: 2\nnonsense: 1');
    const refused = await a.run(['uninstall', '--yes']);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(new RegExp(`detached runs go on.*nothing was removed.*process ${supervisor.pid} `, 's')),
    ]);
    expect(await isAlive(supervisor.pid)).toBe(true);
    await a.edit('\nnonsense: 1', '');
    await a.start();
    expect(await a.json(['jobs', 'show', jobId])).toMatchObject({ state: 'running' });
    expect((await a.run(['uninstall', '--yes'])).code).toBe(0);
    await until(async () => !(await isAlive(supervisor.pid)), 5000);
  });
});
