import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, realpath, writeFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { errorFromBody } from '../../src/protocol/errors.ts';
import { eventsOf, jsonOf } from '../helpers/e2e-shapes.ts';
import { CLI, finished, freePort, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const HEX_64 = /^[0-9a-f]{64}$/;

/** The name of the error that a failed command printed as JSON, with its exit code. */
const failureOf = async (machine: Machine, args: readonly string[]): Promise<[number | null, string | undefined]> => {
  const { code, stdout } = await machine.run(['--json', ...args]);
  return [code, errorFromBody(JSON.parse(stdout))?.error];
};

describe.each([true, false])('every command on real nodes, tls.enabled %s', (tls) => {
  let kai: Machine;
  let maria: Machine;

  beforeAll(async () => {
    const extra = `tls:\n  enabled: ${tls}\nexecution:\n  env:\n    FROM_CONFIG: there\n`;
    kai = await Machine.create('kai', { extra, start: false });
    maria = await Machine.create('maria', { extra });
  }, 60_000);

  afterAll(async () => {
    await kai?.remove();
    await maria?.remove();
  }, 60_000);

  it(verifies(['cli.both-tls', 'cli.start', 'cli.status'], 'init, start, status and doctor'), async () => {
    expect(JSON.parse((await kai.run(['init', '--no-mcp', '--json'])).stdout)).toMatchObject({ created: false });
    expect(await failureOf(kai, ['status'])).toEqual([3, 'node_not_running']);
    const started = await jsonOf(kai, 'system.status', ['start']);
    expect(started).toMatchObject({ hostname: 'kai', tls, restartNeeded: [], peers: { total: 0 } });
    expect((await jsonOf(kai, 'system.status', ['start'])).pid).toBe(started.pid);
    const { stdout } = await kai.run(['status']);
    for (const part of ['kai', started.version, `127.0.0.1:${started.port}`, 'none yet', '0 running'])
      expect(stdout).toContain(part);
    expect(await jsonOf(kai, 'system.status', [])).toMatchObject({ pid: started.pid });
    const { checks } = await jsonOf(kai, 'system.doctor', ['doctor']);
    expect(checks.find(({ name }) => name === 'tls')?.level).toBe(tls ? 'ok' : 'warning');
    expect(checks.map(({ name }) => name)).toEqual(expect.arrayContaining(['node', 'config', 'tls', 'files', 'disk']));
    const config = await readFile(kai.path('config.yaml'), 'utf8');
    await writeFile(kai.path('config.yaml'), `${config}prt: 1\n`);
    await until(async () => (await jsonOf(kai, 'system.status', ['status'])).warnings.length > 0, 5000);
    await writeFile(kai.path('config.yaml'), config.replace('host: 127.0.0.1', 'host: localhost'));
    await until(async () => (await kai.run(['status'])).stdout.includes('restart needed for server.host'), 5000);
    await writeFile(kai.path('config.yaml'), config);
    await until(async () => (await jsonOf(kai, 'system.status', ['status'])).restartNeeded.length === 0, 5000);
  });

  it(
    verifies(['cli.connect-script', 'cli.peers', 'platform.in-rows'], 'connect and peers list, add, show, rename'),
    async () => {
      const of = await jsonOf(maria, 'system.status', ['status']);
      const own = await jsonOf(kai, 'system.status', ['status']);
      const at = `127.0.0.1:${of.port}`;
      expect(await jsonOf(kai, 'peer.add', ['peers', 'add', '127.0.0.1', String(of.port)])).toMatchObject({
        trusted: false,
        status: 'unknown',
        nodeId: of.nodeId,
      });
      const wrong = '0'.repeat(64);
      const refused = await kai.run(['connect', at, '--fingerprint', wrong, '--yes']);
      expect(refused).toMatchObject({ code: 5, stdout: '' });
      expect(refused.stderr).toContain(wrong);
      expect(refused.stderr).toContain(of.fingerprint);
      const trusted = await jsonOf(kai, 'peer.trust', [
        'connect',
        at,
        '--fingerprint',
        of.fingerprint,
        '--yes',
        '--name',
        'mary',
      ]);
      expect(trusted).toMatchObject({ mutual: false, peer: { name: 'mary', trusted: true, grant: { level: 'full' } } });
      const back = await jsonOf(maria, 'peer.trust', [
        'connect',
        `127.0.0.1:${own.port}`,
        '--fingerprint',
        own.fingerprint,
        '--yes',
      ]);
      expect(back).toMatchObject({ mutual: true, ownFingerprint: of.fingerprint, peer: { status: 'online' } });
      expect(back.peer).not.toHaveProperty('reason');
      await until(async () => (await jsonOf(kai, 'peer.list', ['peers'])).peers[0]?.status === 'online', 5000);
      const { peers } = await jsonOf(kai, 'peer.list', ['peers', 'list']);
      expect(peers).toHaveLength(1);
      expect(peers[0]).toMatchObject({
        nodeId: of.nodeId,
        name: 'mary',
        hostname: 'maria',
        platform: process.platform,
        version: of.version,
        address: '127.0.0.1',
        port: of.port,
        trusted: true,
      });
      expect((await jsonOf(kai, 'peer.rename', ['peers', 'rename', 'mary', 'maria'])).name).toBe('maria');
      for (const reference of ['maria', of.nodeId, of.nodeId.slice(0, 4), at]) {
        expect((await jsonOf(kai, 'peer.show', ['peers', 'show', reference])).nodeId).toBe(of.nodeId);
      }
      const { checks } = await jsonOf(kai, 'system.doctor', ['doctor']);
      expect(checks.find(({ name }) => name === 'peer maria')?.detail).toMatch(/reachable.*pin matches.*ms, version/);
    },
  );

  it(
    verifies(
      ['show.e2e', 'cli.exec.options', 'cli.exec.defaults', 'cli.exec.streams'],
      'exec, with its options and defaults',
    ),
    async () => {
      const home = await realpath(maria.home);
      expect((await kai.run(['exec', 'maria', 'pwd'])).stdout.trim()).toBe(home);
      expect((await kai.run(['exec', '--cwd', '/', 'maria', 'pwd'])).stdout).toBe('/\n');
      const { stdout } = await kai.run(['exec', 'maria', '--env', 'MINE=1 2', '--', 'env']);
      expect(stdout).toMatch(/^MINE=1 2$/m);
      expect(stdout).toMatch(/^FROM_CONFIG=there$/m);
      expect(stdout).toMatch(new RegExp(`^HOME=${maria.home}$`, 'm'));
      expect(stdout).not.toMatch(/LOOPSY|NODE_OPTIONS/);
      expect((await kai.run(['exec', 'maria', '--shell', 'echo a b | wc -w'])).stdout.trim()).toBe('2');
      expect(await kai.run(['exec', '-n', 'maria', 'cat'], 'for the loop')).toMatchObject({ code: 0, stdout: '' });
      expect((await kai.run(['exec', 'maria', 'cat'], 'through')).stdout).toBe('through');
      for (const time of ['200', '0.2s'])
        expect((await kai.run(['exec', '--timeout', time, 'maria', 'sleep', '30'])).code).toBe(6);
      const slow = await kai.run([
        'exec',
        '--quiet',
        '--timeout',
        '200',
        'maria',
        '--',
        'sh',
        '-c',
        'echo out; sleep 30',
      ]);
      expect(slow).toMatchObject({ code: 6, stdout: 'out\n' });
      expect((await kai.run(['exec', 'maria', '--', 'sh', '-c', 'kill -9 $$'])).code).toBe(137);
      const json = await kai.run(['exec', '--json', 'maria', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3']);
      expect(json.code).toBe(3);
      const events = eventsOf('job.stream', json.stdout);
      expect(new Set(events.map(({ type }) => type))).toEqual(new Set(['started', 'stdout', 'stderr', 'exit']));
      expect(events.at(-1)?.data).toMatchObject({ exitCode: 3, endedBy: 'exit', host: 'maria', cwd: home });
      expect(await failureOf(kai, ['exec', 'maria', 'no-such-program'])).toEqual([2, 'execution_failed']);
      expect(await failureOf(kai, ['exec', 'maria', 'rm', '-rf', 'x'])).toEqual([4, 'command_denied']);
      expect(await failureOf(kai, ['exec', 'nobody', 'true'])).toEqual([2, 'peer_not_found']);
    },
  );

  it(verifies('cli.exec.pipes', 'exec -n leaves its stdin to a `while read` loop'), async () => {
    const line = `printf 'a\\nb\\nc\\n' | while read f; do "${process.execPath}" "${CLI}" exec -n maria echo "$f"; done`;
    const env = { PATH: process.env['PATH'], HOME: kai.home, LOOPSY_DATA_DIR: kai.path() };
    expect((await finished(spawn('sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'pipe'] }))).stdout).toBe(
      'a\nb\nc\n',
    );
  });

  it(verifies('cli.jobs', 'jobs list, show, attach and kill; an id alone is enough'), async () => {
    const run = kai.spawn(['exec', 'maria', '--json', '--', 'sh', '-c', 'echo begun; sleep 60']);
    const over = finished(run);
    const [first] = await once(run.stdout ?? run, 'data');
    const [started] = eventsOf('job.stream', String(first).split('\n')[0] ?? '');
    const jobId = started?.jobId ?? '';
    const { jobs } = await jsonOf(kai, 'job.list', ['jobs', '--peer', 'maria']);
    expect(jobs).toEqual([expect.objectContaining({ jobId, command: 'sh', state: 'running', host: 'maria' })]);
    expect((await jsonOf(kai, 'job.list', ['jobs', 'list'])).jobs).toEqual([]);
    const job = await jsonOf(kai, 'job.get', ['jobs', 'show', jobId]);
    expect(await jsonOf(maria, 'job.get', ['jobs', 'show', jobId])).toMatchObject({
      pid: job.pid,
      caller: `peer:${job.fromNodeId}`,
    });
    expect(await jsonOf(kai, 'job.signal', ['jobs', 'kill', '--signal', 'CONT', jobId])).toMatchObject({
      delivered: true,
    });
    const attached = kai.run(['jobs', 'attach', '--json', jobId]);
    expect(await jsonOf(kai, 'job.cancel', ['jobs', 'kill', jobId])).toEqual({
      success: true,
      jobId,
      state: 'cancelled',
    });
    expect((await over).code).toBe(2);
    await until(async () => !(await isAlive(job.pid ?? 0)), 5000);
    const events = eventsOf('job.output', (await attached).stdout);
    expect(events.find(({ type }) => type === 'stdout')?.data).toBe('begun\n');
    expect(events.at(-1)?.data).toMatchObject({ endedBy: 'cancel', killed: true, exitCode: null });
    expect(await jsonOf(kai, 'job.cancel', ['jobs', 'kill', jobId])).toMatchObject({ state: 'ended' });
    expect((await kai.run(['jobs', 'attach', jobId, '--since', '3'])).stdout).toBe('un\n');
    expect(await failureOf(kai, ['jobs', 'show', '0'.repeat(26)])).toEqual([1, 'job_not_found']);
  });

  it(verifies('cli.key', 'key show, generate, add, list, grant and revoke'), async () => {
    const before = await jsonOf(kai, 'key.show', ['key', 'show', '--reveal']);
    const { key } = await jsonOf(kai, 'key.generate', ['key', 'generate', '--reveal']);
    expect([before.key, key]).toEqual([expect.stringMatching(HEX_64), expect.stringMatching(HEX_64)]);
    expect(key).not.toBe(before.key);
    const { url } = await kai.registration();
    const asks = async (token: string, path = '/config'): Promise<number> =>
      (await fetch(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect([await asks(before.key), await asks(key)]).toEqual([403, 200]);
    expect((await kai.run(['exec', 'maria', 'true'])).code).toBe(0);
    const ci = await jsonOf(kai, 'key.add', ['key', 'add', 'ci', '--grant', 'full', '--expires', '30d']);
    expect(ci.grant).toMatchObject({ level: 'full', expiresAt: expect.any(Number) });
    expect(await asks(ci.key, '/execute/jobs')).toBe(200);
    expect((await jsonOf(kai, 'key.grant', ['key', 'grant', 'ci', 'observe'])).grant.level).toBe('observe');
    expect([await asks(ci.key, '/execute/jobs'), await asks(ci.key, '/status')]).toEqual([403, 200]);
    expect((await jsonOf(kai, 'key.list', ['key', 'list'])).keys.map(({ name }) => name)).toEqual(['agent', 'ci']);
    expect(await jsonOf(kai, 'key.revoke', ['key', 'revoke', 'ci'])).toEqual({ success: true, name: 'ci' });
    expect(await asks(ci.key, '/status')).toBe(403);
  });

  it(verifies('cli.logs', 'logs, its filters, -f and --node'), async () => {
    const { records } = await jsonOf(kai, 'audit.list', ['logs', '--operation', 'key.add', '--since', '1h']);
    expect(records).toEqual([expect.objectContaining({ operation: 'key.add', caller: 'owner', name: 'ci' })]);
    expect(
      (await jsonOf(kai, 'audit.list', ['logs', '--denied'])).records.every(({ decision }) => decision !== 'allowed'),
    ).toBe(true);
    const ofPeer = await jsonOf(kai, 'audit.list', ['logs', '--peer', 'maria', '--operation', 'job.stream']);
    expect(ofPeer.records.every(({ peer }) => peer === 'maria')).toBe(true);
    const follower = kai.spawn(['logs', '-f', '--json', '--operation', 'system.identity']);
    const over = finished(follower);
    const seen = once(follower.stdout ?? follower, 'data');
    const asking = setInterval(() => void kai.fetch('GET', '/identity'), 100);
    const [line] = await seen;
    clearInterval(asking);
    follower.kill('SIGINT');
    await over;
    expect(eventsOf('audit.follow', String(line).split('\n')[0] ?? '')[0]).toMatchObject({
      operation: 'system.identity',
    });
    const lines = (await kai.run(['logs', '--node', '--json'])).stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(lines.map(({ event }) => event)).toContain('node started');
    expect((await kai.run(['logs', '--node'])).stdout).toMatch(/info {2}node started/);
  });

  it(
    verifies(['cli.peers-grant', 'link.twice', 'error.1004'], 'peers grant and revoke: this side and the other decide'),
    async () => {
      const granted = await jsonOf(maria, 'peer.grant', [
        'peers',
        'grant',
        'kai',
        'observe',
        '--folder',
        '/srv',
        '--expires',
        '1h',
      ]);
      expect(granted.grant).toMatchObject({ level: 'observe', folders: ['/srv'], expiresAt: expect.any(Number) });
      expect(await failureOf(kai, ['exec', 'maria', 'true'])).toEqual([4, 'scope_missing']);
      expect((await kai.fetch('GET', '/status?peer=maria')).status).toBe(200);
      expect((await jsonOf(maria, 'peer.revoke', ['peers', 'revoke', 'kai'])).grant?.scopes).toEqual([]);
      expect((await kai.fetch('GET', '/status?peer=maria')).status).toBe(403);
      await jsonOf(maria, 'peer.grant', ['peers', 'grant', 'kai', 'full']);
      const { key } = await jsonOf(kai, 'key.add', ['key', 'add', 'near', '--grant', 'full', '--reach', 'none']);
      const { url } = await kai.registration();
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
      const run = (peer: string): Promise<Response> =>
        fetch(`${url}/api/v1/execute${peer}`, { method: 'POST', headers, body: '{"command":"true"}' });
      expect([(await run('')).status, (await run('?peer=maria')).status]).toEqual([200, 403]);
      expect((await kai.run(['exec', 'maria', 'true'])).code).toBe(0);
    },
  );

  it(verifies('cli.restart', 'restart and stop, with the same data'), async () => {
    const { pid, nodeId } = await kai.registration();
    const again = await jsonOf(kai, 'system.status', ['restart']);
    expect(again).toMatchObject({ nodeId, peers: { total: 1 } });
    expect(again.pid).not.toBe(pid);
    expect((await jsonOf(kai, 'key.list', ['key', 'list'])).keys.map(({ name }) => name)).toContain('near');
    expect((await kai.run(['exec', 'maria', 'true'])).code).toBe(0);
    expect(await jsonOf(kai, 'system.stop', ['stop'])).toEqual({ success: true, pid: again.pid, detached: 0, held: 0 });
    expect(await failureOf(kai, ['stop'])).toEqual([3, 'node_not_running']);
    await kai.start();
  });

  it(
    verifies(
      ['cli.peers-remove', 'link.farewell', 'cli.doctor'],
      'peers remove ends trust at once and tells the other side',
    ),
    async () => {
      const removed = await jsonOf(kai, 'peer.remove', ['peers', 'remove', 'maria']);
      expect(removed).toMatchObject({ success: true, name: 'maria', told: true });
      expect((await jsonOf(kai, 'peer.list', ['peers'])).peers).toEqual([]);
      expect((await maria.run(['exec', 'kai', 'true'])).code).not.toBe(0);
      await until(async () => (await jsonOf(maria, 'peer.list', ['peers'])).peers[0]?.status === 'offline', 3000);
      const { checks } = JSON.parse((await maria.run(['doctor', '--json'])).stdout);
      expect(checks.find(({ name }: { name: string }) => name === 'peer kai')).toMatchObject({ ok: false });
      expect((await maria.run(['doctor'])).code).toBe(1);
      const free = await freePort();
      expect(await failureOf(kai, ['peers', 'add', `127.0.0.1:${free}`])).toEqual([5, 'peer_unreachable']);
    },
  );
});
