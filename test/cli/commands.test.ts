import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { COMMANDS } from '../../src/cli/commands.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { OPERATIONS, type OperationId } from '../../src/protocol/operations.ts';
import { VERSION } from '../../src/protocol/version.ts';
import { verifies } from '../requirements.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { MESSAGE_ID } from './fake-mail.ts';
import { FakeNode, JOB_ID, PEER, STATUS, TRANSFER_ID } from './fake-node.ts';
import { documentOf, runCli } from './run-cli.ts';

/** Every command that asks one operation, how it is typed, what the node is asked, and what people read. */
const CASES: readonly (readonly [line: string, id: OperationId, input: Record<string, unknown>, text: string])[] = [
  ['status', 'system.status', {}, 'kai is up for 2 h'],
  ['peers', 'peer.list', {}, 'maria  online  192.168.1.20:19532  darwin'],
  ['peers show maria', 'peer.show', { nodeId: 'maria' }, 'Maria’s Mac'],
  [
    'peers add 10.0.0.7 19600 --name bo',
    'peer.add',
    { address: '10.0.0.7', port: 19600, name: 'bo' },
    'Added bo (10.0.0.7:19600)',
  ],
  ['peers add [fe80::1]:19600', 'peer.add', { address: 'fe80::1', port: 19600 }, 'not trusted yet'],
  ['peers remove maria', 'peer.remove', { nodeId: 'maria' }, 'The other side knows'],
  ['peers remove maria --keep-runs', 'peer.remove', { nodeId: 'maria', keepRuns: true }, 'no longer trusted'],
  ['peers grant maria observe', 'peer.grant', { nodeId: 'maria', level: 'observe' }, 'maria may look (observe)'],
  [
    'peers grant maria collaborate --folder ~/work --folder /x --expires 30d',
    'peer.grant',
    { nodeId: 'maria', level: 'collaborate', folders: ['~/work', '/x'], expires: 2_592_000_000 },
    'maria may collaborate',
  ],
  ['peers revoke maria', 'peer.revoke', { nodeId: 'maria' }, 'maria may do nothing here any more'],
  ['peers rename maria mia', 'peer.rename', { nodeId: 'maria', name: 'mia' }, 'It is called mia here now'],
  ['jobs', 'job.list', { state: 'active', limit: 1000 }, 'exit 2'],
  ['jobs list --all', 'job.list', { state: 'all', limit: 1000 }, 'make test'],
  [`jobs show ${JOB_ID}`, 'job.get', { jobId: JOB_ID }, '12 s'],
  [`jobs kill ${JOB_ID}`, 'job.cancel', { jobId: JOB_ID }, 'Ended, with everything'],
  [`jobs kill ${JOB_ID} --signal hup`, 'job.signal', { jobId: JOB_ID, signal: 'SIGHUP' }, 'Sent SIGHUP'],
  ['ls maria', 'file.list', { path: '~', limit: 1000 }, 'notes.txt'],
  ['ls maria /home/maria', 'file.list', { path: '/home/maria', limit: 1000 }, 'maria:/home/maria\n'],
  ['transfers', 'transfer.list', { state: 'active', limit: 1000 }, 'this machine → maria'],
  ['transfers list --all', 'transfer.list', { state: 'all', limit: 1000 }, '8/8 files'],
  [`transfers show ${TRANSFER_ID}`, 'transfer.get', { transferId: TRANSFER_ID }, '5 were there already'],
  [`transfers cancel ${TRANSFER_ID}`, 'transfer.cancel', { transferId: TRANSFER_ID }, 'what has arrived stays'],
  ['context', 'context.list', { limit: 1000 }, 'green…'],
  ['context list build/ --peer maria', 'context.list', { prefix: 'build/', limit: 1000 }, '(claude)'],
  ['context set k v', 'context.set', { key: 'k', value: 'v' }, 'Set k (revision 7'],
  [
    'context set k v --ttl 90 --if-revision 0',
    'context.set',
    { key: 'k', value: 'v', ttl: 90, ifRevision: 0 },
    'Set k',
  ],
  ['context set k v --ttl 5m', 'context.set', { key: 'k', value: 'v', ttl: 300 }, 'until'],
  ['context get build/status', 'context.get', { key: 'build/status' }, 'green\nsince noon'],
  ['context delete k --peer maria', 'context.delete', { key: 'k' }, 'Deleted k on maria.'],
  ['context delete k --if-revision 7', 'context.delete', { key: 'k', ifRevision: 7 }, 'Deleted k.'],
  ['context lease', 'lease.list', { limit: 1000 }, 'agent:claude'],
  ['context lease acquire deploy', 'lease.acquire', { name: 'deploy', ttl: 60 }, 'You hold deploy, until'],
  ['context lease acquire deploy --ttl 5m', 'lease.acquire', { name: 'deploy', ttl: 300 }, '(fence 41)'],
  ['context lease renew deploy --fence 41', 'lease.renew', { name: 'deploy', ttl: 60, fence: 41 }, 'You still hold'],
  ['context lease release deploy --fence 41', 'lease.release', { name: 'deploy', fence: 41 }, 'Released deploy.'],
  ['context lease release deploy --force', 'lease.release', { name: 'deploy', force: true }, 'Released deploy.'],
  [
    'message send maria#codex hello',
    'message.send',
    { to: 'maria#codex', body: 'hello' },
    'Delivered to maria#codex (',
  ],
  [
    'message send maria hello --type request --thread build --ttl 1h --as ci',
    'message.send',
    { to: 'maria', body: 'hello', type: 'request', thread: 'build', ttl: 3600, as: 'ci' },
    'Delivered to',
  ],
  [`message reply ${MESSAGE_ID} done`, 'message.send', { body: 'done', replyTo: MESSAGE_ID }, 'Delivered to'],
  ['message', 'message.list', { unread: true, limit: 100 }, 'maria#codex → kai'],
  [
    'message inbox --peek --from maria',
    'message.list',
    { unread: true, limit: 100, from: 'maria' },
    '\\u{202e}at this',
  ],
  ['message inbox --all', 'message.list', { box: 'inbox', limit: 1000 }, 'look…'],
  ['message outbox --dead', 'message.list', { box: 'outbox', dead: true, limit: 1000 }, 'refused: it is full\\u{202e}'],
  [`message ack ${MESSAGE_ID} --note ok`, 'message.ack', { id: MESSAGE_ID, note: 'ok' }, 'Acknowledged to maria#codex'],
  [`message show ${MESSAGE_ID}`, 'message.show', { id: MESSAGE_ID }, 'delivered'],
  [`message cancel ${MESSAGE_ID}`, 'message.cancel', { id: MESSAGE_ID }, 'maria will not get it'],
  ['message addresses', 'message.addresses', {}, '2 messages unread'],
  ['key show --reveal', 'key.show', {}, 'a'.repeat(64)],
  ['key generate --reveal', 'key.generate', {}, 'b'.repeat(64)],
  ['key list', 'key.list', {}, 'ci    key   may do anything'],
  ['key add ci', 'key.add', { name: 'ci' }, 'c'.repeat(64)],
  [
    'key add ci --grant full --expires 12h --reach maria',
    'key.add',
    { name: 'ci', grant: { level: 'full', expires: 43_200_000, reach: ['maria'] } },
    'c'.repeat(64),
  ],
  [
    'key grant agent observe --reach none',
    'key.grant',
    { name: 'agent', level: 'observe', reach: [] },
    'agent may look (observe)',
  ],
  ['key revoke ci', 'key.revoke', { name: 'ci' }, 'Revoked ci'],
  ['logs', 'audit.list', { limit: 1000 }, 'command_denied  ×3'],
  [
    'logs --denied --peer maria --operation job.execute --since 1970-01-02T00:00Z',
    'audit.list',
    { denied: true, node: 'maria', operation: 'job.execute', since: 86_400_000, limit: 1000 },
    'command=rm',
  ],
];

describe('a command that asks one operation', () => {
  it.each(CASES)(verifies('cli.json', 'loopsy %s'), async (...[line, id, input, text]) => {
    const node = await FakeNode.start();
    const plain = await runCli(line.split(' '), { dataDir: node.folder });
    expect(plain).toMatchObject({ code: 0 });
    expect(plain.stdout).toContain(text);
    expect(node.inputs(id)).toEqual([input]);
    const json = await runCli([...line.split(' '), '--json'], { dataDir: node.folder });
    expect(json).toMatchObject({ code: 0, stderr: '' });
    expect(documentOf(id, json)).toBeDefined();
  });

  it('covers every operation that the table gives to a command', () => {
    const covered = new Set(CASES.map(([, id]) => id));
    const elsewhere = new Set([
      'exec',
      'jobs attach',
      'send',
      'pull',
      'transfers attach',
      'connect',
      'pair',
      'doctor',
      'stop',
      'message inbox',
      'message wait',
      'context watch',
      'context broadcast',
      'events',
      'logs',
      'status',
    ]);
    for (const [id, { cli }] of Object.entries(OPERATIONS)) {
      if (typeof cli !== 'string' || elsewhere.has(cli)) continue;
      expect(covered, id).toContain(id);
    }
    const named = new Set(Object.values(OPERATIONS).flatMap(({ cli }) => (typeof cli === 'string' ? [cli] : [])));
    const paths = new Set(COMMANDS.flatMap(({ path }) => [path, path.replace(/ list$/, '')]));
    for (const cli of named) expect(paths, cli).toContain(cli);
  });

  it('goes to the peer that was named, and `localhost` means this node', async () => {
    const node = await FakeNode.start();
    await runCli(['jobs', '--peer', 'maria'], { dataDir: node.folder });
    await runCli(['jobs', '--peer', 'localhost'], { dataDir: node.folder });
    expect(node.seen.filter(({ id }) => id === 'job.list').map(({ peer }) => peer)).toEqual(['maria', undefined]);
  });

  it('says below the table what stands between a row and work with it', async () => {
    const { nodeId, address, ...pin } = { ...PEER, status: 'unknown', reason: 'never met' };
    const added = { ...PEER, name: 'bo', trusted: false, manuallyAdded: true, reason: 'not trusted' };
    const off = { ...PEER, name: 'off', status: 'offline', reason: 'no answer' };
    const node = await FakeNode.start({ 'peer.list': () => ({ peers: [PEER, off, pin, added] }) });
    const { stdout } = await runCli(['peers'], { dataDir: node.folder });
    expect(stdout.split('\n').slice(5)).toEqual(['! maria: never met', '! bo: not trusted', '']);
    expect([nodeId, address]).toEqual([PEER.nodeId, PEER.address]);
  });

  it('does not say that trust ended where there was none', async () => {
    const node = await FakeNode.start({
      'peer.remove': () => ({ success: true, nodeId: '', name: '10.0.0.7:19532', trusted: false, told: false }),
      'peer.show': () => ({ ...PEER, trusted: false }),
    });
    const { stdout } = await runCli(['peers', 'remove', '10.0.0.7'], { dataDir: node.folder });
    expect(stdout).toBe('Removed 10.0.0.7:19532. It was not trusted.\n');
    expect((await runCli(['peers', 'show', 'x'], { dataDir: node.folder })).stdout).toMatch(/trusted +no\n/);
  });

  it('shows friendly empty states', async () => {
    const node = await FakeNode.start({
      'peer.list': () => ({ peers: [] }),
      'job.list': () => ({ jobs: [] }),
      'key.list': () => ({ keys: [] }),
      'audit.list': () => ({ records: [] }),
      'transfer.list': () => ({ transfers: [] }),
      'file.list': () => ({ path: '/home/maria/new', files: [] }),
    });
    const text = async (line: string) => (await runCli(line.split(' '), { dataDir: node.folder })).stdout;
    expect(await text('peers')).toContain('loopsy pair');
    expect(await text('jobs')).toContain('Nothing runs');
    expect(await text('key list')).toContain('loopsy key add');
    expect(await text('logs')).toContain('Nothing like that');
    expect(await text('transfers')).toContain('transfers list --all');
    expect(await text('transfers list --all')).toContain('loopsy send');
    expect(await text('ls maria new')).toBe('maria:/home/maria/new is empty.\n');
  });

  it('neutralises names and texts of others: control, bidi and zero-width characters', async () => {
    const evil = 'ma\u001B[31mria\u202Egnp.exe\u200B\nroot  online';
    const node = await FakeNode.start({ 'peer.list': () => ({ peers: [{ ...PEER, name: evil, version: '\u0007' }] }) });
    const { stdout } = await runCli(['peers'], { dataDir: node.folder });
    expect(stdout.split('\n')).toHaveLength(3);
    expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202E\u200B]/u);
    expect(stdout).toContain('\\u{202e}');
  });

  it('aligns columns of wide and combining characters', async () => {
    const node = await FakeNode.start({
      'peer.list': () => ({
        peers: [
          { ...PEER, name: '東京' },
          { ...PEER, name: 'e\u0301e\u0301e\u0301e\u0301' },
          { ...PEER, name: 'abcd' },
        ],
      }),
    });
    const { stdout } = await runCli(['peers'], { dataDir: node.folder });
    const [, tokyo, accents, plain] = stdout.split('\n');
    expect(tokyo?.indexOf('online')).toBe(4);
    expect(accents?.normalize('NFC').indexOf('online')).toBe(6);
    expect(plain?.indexOf('online')).toBe(6);
  });

  it(verifies('cli.color', 'uses colours on a terminal only, and never against --no-color or NO_COLOR'), async () => {
    const node = await FakeNode.start();
    const esc = '\u001B[';
    expect((await runCli(['peers'], { dataDir: node.folder, tty: true })).stdout).toContain(esc);
    expect((await runCli(['peers'], { dataDir: node.folder })).stdout).not.toContain(esc);
    expect((await runCli(['peers', '--no-color'], { dataDir: node.folder, tty: true })).stdout).not.toContain(esc);
    expect((await runCli(['peers'], { dataDir: node.folder, tty: true, env: { NO_COLOR: '1' } })).stdout).not.toContain(
      esc,
    );
  });
});

describe('errors', () => {
  it.each([
    ['invalid_request', 2],
    ['peer_not_found', 1],
    ['peer_offline', 5],
    ['peer_handshake', 5],
    ['scope_missing', 4],
    ['request_timeout', 6],
    ['internal', 1],
  ] as const)(
    verifies(['cli.exit-codes', 'cli.four-answers'], '%s exits %d, in words and as JSON'),
    async (name, exit) => {
      const node = await FakeNode.start({
        'peer.show': () => {
          throw new LoopsyError(name, { message: 'it went\u202E wrong', hint: 'do this' });
        },
      });
      const plain = await runCli(['peers', 'show', 'x'], { dataDir: node.folder });
      expect(plain).toEqual({ code: exit, stdout: '', stderr: 'loopsy: it went\\u{202e} wrong\n  do this\n' });
      const json = await runCli(['--json', 'peers', 'show', 'x'], { dataDir: node.folder });
      expect(json).toMatchObject({ code: exit, stderr: '' });
      expect(JSON.parse(json.stdout)).toMatchObject({
        error: { name, message: 'it went\u202E wrong', hint: 'do this' },
      });
    },
  );

  it('prints usage errors as JSON too', async () => {
    const { code, stdout } = await runCli(['peers', '--json', '--nonsense'], { dataDir: '/nowhere' });
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { name: 'invalid_request' } });
  });

  it('says that loopsy is not set up, or not running: exit 3', async () => {
    const folder = await tempFolder();
    const fresh = await runCli(['status'], { dataDir: folder });
    expect(fresh).toMatchObject({ code: 3 });
    expect(fresh.stderr).toContain('loopsy up');
    await writeFile(join(folder, 'config.yaml'), 'version: 2\n');
    const down = await runCli(['status'], { dataDir: folder });
    expect(down).toMatchObject({ code: 3 });
    expect(down.stderr).toContain('loopsy start');
    expect((await runCli(['peers', '--json'], { dataDir: folder })).stdout).toContain('"node_not_running"');
  });

  it.each([
    ['peers grant maria full --expires soon', 'is no time for --expires'],
    ['peers grant maria full --expires 30', 'is no time for --expires'],
    ['logs --since yesterday', 'is no time for --since'],
    ['peers add http://kai', 'is no address'],
    ['peers add kai:1 2', 'two ports are given'],
    ['peers add kai 99999', 'is no port'],
    ['key add ci --grant root', 'is no level'],
    ['key grant ci full --reach all --reach kai', 'contradicts itself'],
    ['jobs attach x --since y', 'is no cursor'],
    ['logs --node --denied', '--denied is for the audit log'],
  ])('loopsy %s is refused before the node is asked', async (line, message) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(line.split(' '), { dataDir: node.folder });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(node.seen.filter(({ id }) => id !== 'system.health')).toEqual([]);
  });

  it('waits once where the node says when to come again', async () => {
    let asked = 0;
    const node = await FakeNode.start({
      'peer.list': () => {
        asked += 1;
        if (asked === 1) throw new LoopsyError('rate_limited', { details: { retryAfterMs: 1 } });
        return { peers: [] };
      },
    });
    const { code, stderr } = await runCli(['peers'], { dataDir: node.folder });
    expect(code).toBe(0);
    expect(stderr).toContain('waiting 0 s');
    expect(asked).toBe(2);
  });
});

describe('loopsy alone, and versions', () => {
  it(verifies('cli.alone', 'shows the state in five lines, the last of which is the next step'), async () => {
    const folder = await tempFolder();
    const lines = async (dataDir: string) => {
      const { code, stdout } = await runCli([], { dataDir });
      expect(code).toBe(0);
      expect(stdout.trimEnd().split('\n')).toHaveLength(5);
      return stdout.trimEnd().split('\n').at(-1);
    };
    expect(await lines(folder)).toBe('Next: `loopsy up` sets it up and starts it.');
    await writeFile(join(folder, 'config.yaml'), '');
    expect(await lines(folder)).toBe('Next: `loopsy start`.');
    const node = await FakeNode.start();
    expect(await lines(node.folder)).toContain('loopsy pair');
    node.on('system.status', () => ({ ...STATUS, peers: { total: 1, online: 1, offline: 0 } }));
    expect(await lines(node.folder)).toContain('loopsy exec');
    node.on('system.status', () => ({ ...STATUS, warnings: ['a pin'] }));
    expect(await lines(node.folder)).toBe('Next: `loopsy doctor` says what to do about a warning.');
    expect((await runCli(['status'], { dataDir: node.folder })).stdout).toContain('! a pin\n');
  });

  it(verifies('cli.version-skew', 'says in one line on stderr that the running node is older or newer'), async () => {
    const health = (version: string) => () => ({ status: 'ok', nodeId: STATUS.nodeId, uptime: 1, version });
    const node = await FakeNode.start({ 'system.health': health('1.9.10') });
    const older = await runCli(['status', '--json'], { dataDir: node.folder });
    expect(older.stderr).toMatch(/^this loopsy \(.+\) is newer than the running node \(1\.9\.10\).*\n$/);
    expect(documentOf('system.status', older)).toBeDefined();
    node.on('system.health', health('10.0.0'));
    expect((await runCli(['status'], { dataDir: node.folder })).stderr).toContain('is older than');
  });

  it(verifies('cli.help', 'prints its version, and help for every command with its examples'), async () => {
    const dataDir = '/nowhere';
    expect(await runCli(['--version'], { dataDir })).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
    for (const { path, examples, options } of COMMANDS) {
      const { code, stdout } = await runCli([...path.split(' '), '--help'], { dataDir });
      expect(code).toBe(0);
      for (const [line] of examples) expect(stdout).toContain(line);
      for (const { name } of options ?? []) expect(stdout).toContain(`--${name}`);
    }
    const all = await runCli(['--help'], { dataDir });
    for (const { path, summary } of COMMANDS) expect(all.stdout).toMatch(new RegExp(`^  ${path} +${summary}$`, 'm'));
    expect((await runCli(['peers', '--help'], { dataDir })).stdout).toContain('peers rename');
  });
});

describe('logs', () => {
  it('follows the audit log, for people and as JSON', async () => {
    const node = await FakeNode.start();
    expect((await runCli(['logs', '-f'], { dataDir: node.folder })).stdout).toContain('job.execute');
    const json = await runCli(['logs', '-f', '--json'], { dataDir: node.folder });
    expect(documentOf('audit.follow', json)).toMatchObject({ caller: 'peer:maria' });
  });

  it("shows the node's own log when the node is down", async () => {
    const folder = await tempFolder();
    expect((await runCli(['logs', '--node'], { dataDir: folder })).stdout).toContain('nothing');
    await mkdir(join(folder, 'logs'));
    const line = '{"time":"2026-11-20T09:00:00.000Z","level":"error","event":"store failed","file":"x\\u202e"}';
    await writeFile(join(folder, 'logs', 'node.log'), `${line}\nno json\n`);
    const { stdout } = await runCli(['logs', '--node'], { dataDir: folder });
    expect(stdout).toMatch(/error {2}store failed {2}file=x\\u\{202e\}\nno json\n$/);
    expect((await runCli(['logs', '--node', '--json'], { dataDir: folder })).stdout).toBe(`${line}\nno json\n`);
  });
});
