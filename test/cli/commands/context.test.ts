import type { ServerResponse } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';
import { ENTRY, FakeNode, WATCHED } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

describe('context get', () => {
  it(
    verifies('cli.context.get', 'prints the value and nothing else; where there is none, nothing at all'),
    async () => {
      const node = await FakeNode.start();
      expect(await runCli(['context', 'get', 'build/status'], { dataDir: node.folder })).toEqual({
        code: 0,
        stdout: ENTRY.value,
        stderr: '',
      });
      node.on('context.get', () => {
        throw new LoopsyError('context_not_found');
      });
      expect(await runCli(['context', 'get', 'x'], { dataDir: node.folder })).toMatchObject({ code: 1, stdout: '' });
    },
  );
});

describe('context set', () => {
  it(verifies('cli.context.stdin', 'reads the value from stdin, which is text or refused'), async () => {
    const node = await FakeNode.start();
    const set = (stdin: string | Buffer) =>
      runCli(['context', 'set', 'k', '-'], { dataDir: node.folder, stdin: Readable.from([stdin]) });
    expect((await set('grüße\n')).code).toBe(0);
    expect(node.seen.at(-1)?.input).toEqual({ key: 'k', value: 'grüße\n' });
    const binary = await set(Buffer.of(0xff, 0xfe));
    expect([binary.code, binary.stderr]).toEqual([2, expect.stringContaining('no text in UTF-8')]);
    expect((await set('x'.repeat(1_048_577))).stderr).toContain('at most 1 MiB');
  });
});

describe('context list', () => {
  it('stays readable with a very long key, and names a writer who is no peer any more as other lists do', async () => {
    const gone = { ...ENTRY, key: 'k'.repeat(500), fromNodeId: 'z'.repeat(32), agent: undefined };
    const node = await FakeNode.start({ 'context.list': () => ({ entries: [ENTRY, gone] }) });
    const { stdout } = await runCli(['context', 'list'], { dataDir: node.folder });
    expect(stdout).toMatch(/^k{48}… .*  zzzzzzzz$/m);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThan(200);
  });
});

describe('context watch', () => {
  it(verifies('cli.context.watch', 'prints how things are, then each change; what was missed is said'), async () => {
    const node = await FakeNode.start();
    const { stdout } = await runCli(['context', 'watch'], { dataDir: node.folder });
    const lines = stdout.trimEnd().split('\n');
    expect(lines.map((line) => line.replace(/^\S+ \S+ {2}/, ''))).toEqual([
      'changes were missed: this is how things are now',
      'build/status = green…',
      'this is how things are; each change follows  (cursor 7)',
      'old\\u{202e} was deleted  (cursor 8)',
      'b has expired  (cursor 9)',
    ]);
    const json = await runCli(['context', 'watch', '--json'], { dataDir: node.folder });
    expect(
      json.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(WATCHED);
    expect((await runCli(['context', 'watch', 'a', '--key', 'b'], { dataDir: node.folder })).code).toBe(2);
  });
});

describe('context watch, where the node goes away', () => {
  it(
    verifies('cli.context.watch-restart', 'waits for it and goes on behind the last change that was told'),
    async () => {
      const clock = new FakeClock();
      const node = await FakeNode.start();
      const { port } = node;
      const [first, second] = WATCHED.slice(-2);
      const begin = (response: ServerResponse): void =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' });
      node.on('context.watch', ({ response }) => {
        begin(response);
        response.write(`id: 8\ndata: ${JSON.stringify(first)}\n\n`);
        node.on('context.watch', ({ response: next }) => {
          begin(next);
          next.end(`id: 9\ndata: ${JSON.stringify(second)}\n\n`);
        });
        setTimeout(() => node.close(), 20);
      });
      const watching = runCli(['context', 'watch', 'o', '--since', '7', '--json'], {
        dataDir: node.folder,
        clock,
        onReady: (_, __, errors) =>
          void (async () => {
            while (!errors().includes('the node is away; changes are told again')) await setImmediate();
            node.server.listen(port, '127.0.0.1');
          })(),
      });
      while (node.inputs('context.watch').length === 0) await setImmediate();
      const { code, stdout } = await driveClock(clock, watching);
      expect([code, stdout]).toEqual([0, `${JSON.stringify(first)}\n${JSON.stringify(second)}\n`]);
      expect(node.inputs('context.watch').at(-1)).toEqual({ prefix: 'o', since: 8 });
    },
  );
});

describe('context broadcast', () => {
  it(verifies('cli.context.broadcast', 'says of each peer whether it has it; exit 1 where one has not'), async () => {
    const node = await FakeNode.start();
    const { code, stdout } = await runCli(['context', 'broadcast', 'k', 'v'], { dataDir: node.folder });
    expect(code).toBe(1);
    expect(stdout).toMatch(/maria +has it\nkai +the peer is offline/);
    node.on('context.broadcast', () => ({ results: [] }));
    expect((await runCli(['context', 'broadcast', 'k', 'v'], { dataDir: node.folder })).stdout).toContain(
      'no peer to tell',
    );
  });
});

describe('context export and import', () => {
  it(verifies('cli.context.import', 'what one prints, the other sets'), async () => {
    const node = await FakeNode.start();
    const { stdout } = await runCli(['context', 'export'], { dataDir: node.folder });
    expect(JSON.parse(stdout)).toMatchObject({ key: ENTRY.key, value: ENTRY.value });
    const many = Array.from({ length: 100 }, (_, at) => JSON.stringify({ key: `k${at}`, value: `${at}` })).join('\n');
    const imported = await runCli(['context', 'import'], { dataDir: node.folder, stdin: `${stdout}\n${many}` });
    expect(imported).toMatchObject({ code: 0, stdout: 'Set 101 keys.\n' });
    const keys = node.seen.filter(({ id }) => id === 'context.set').map(({ input }) => input['key']);
    expect(new Set(keys).size).toBe(101);
  });

  it('leaves alone what is there, and names a line that is none', async () => {
    const node = await FakeNode.start({
      'context.set': () => {
        throw new LoopsyError('context_conflict');
      },
    });
    const run = (stdin: string, ...more: string[]) =>
      runCli(['context', 'import', ...more], { dataDir: node.folder, stdin });
    expect((await run('{"key":"a","value":"b"}', '--no-clobber')).stdout).toContain('Set 0 keys, 1 were there already');
    expect((await run('{"key":"a","value":"b"}')).code).toBe(1);
    expect((await run('\n{"key":"a"}')).stderr).toContain('line 2 of stdin');
  });

  it('says which line it was, and how many are in, where it ends before the end', async () => {
    const node = await FakeNode.start();
    const run = (stdin: string) => runCli(['context', 'import'], { dataDir: node.folder, stdin });
    const broken = await run('{"key":"a","value":"b"}\n{"key":"a"}\n{"key":"c","value":"d"}');
    expect(broken).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/line 2 of stdin is no key.*; 1 key is set/),
    });
    node.on('context.set', ({ input }) => {
      if (input['key'] === 'c') throw new LoopsyError('context_full');
      return ENTRY;
    });
    const full = await run('{"key":"a","value":"b"}\n{"key":"b","value":"b"}\n{"key":"c","value":"d"}');
    expect(full).toMatchObject({ code: 1, stderr: expect.stringMatching(/line 3 of stdin: .*; 2 keys are set/) });
  });

  it('gives a key what is left of its life, to a second', async () => {
    const clock = new FakeClock();
    const entry = { ...ENTRY, ttl: 60, expiresAt: clock.now() + 20_500 };
    const node = await FakeNode.start({ 'context.list': () => ({ entries: [entry] }) });
    const { stdout } = await runCli(['context', 'export'], { dataDir: node.folder, clock });
    expect(JSON.parse(stdout)).toEqual({ key: ENTRY.key, value: ENTRY.value, ttl: 21 });
  });
});

describe('context import, where the node takes only so many', () => {
  /** Takes `rate` at once, and one each second from then on. */
  const slowNode = async (clock: FakeClock, rate: number) => {
    let tokens = rate;
    let filledAt = clock.monotonicMs();
    let refused = 0;
    const node = await FakeNode.start({
      'context.set': () => {
        const now = clock.monotonicMs();
        tokens += (now - filledAt) / 1000;
        filledAt = now;
        if (tokens >= 1) {
          tokens -= 1;
          return ENTRY;
        }
        refused += 1;
        const details = { retryAfterMs: Math.ceil((1 - tokens) * 1000), category: 'context' };
        throw new LoopsyError('rate_limited', { message: 'more than 20 operations', details });
      },
    });
    return { node, refused: () => refused };
  };
  const lines = (many: number): string =>
    Array.from({ length: many }, (_, at) => JSON.stringify({ key: `k${at}`, value: '' })).join('\n');

  it(verifies('cli.context.import-pace', 'waits as often as it must, says so once, and how far it is'), async () => {
    const clock = new FakeClock();
    const { node, refused } = await slowNode(clock, 20);
    const run = runCli(['context', 'import', '--peer', 'kai'], { dataDir: node.folder, clock, stdin: lines(100) });
    const { code, stdout, stderr } = await driveClock(clock, run);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Set 100 keys on kai.\n' });
    const [first, ...more] = stderr.trimEnd().split('\n');
    expect(first).toMatch(/^more than 20 operations: going on as fast as the node takes them; \d+ keys are set$/);
    expect(more).toEqual([expect.stringMatching(/^\d\d keys are set$/)]);
    // One pause for all: those that were under way, and then one for each key.
    expect(refused()).toBeLessThan(16 + 2 * 80);
  });

  it(verifies('cli.context.import-order', 'sets the lines of one key in their order'), async () => {
    const stdin = Array.from({ length: 40 }, (_, at) => JSON.stringify({ key: `k${at % 2}`, value: `${at}` })).join(
      '\n',
    );
    const held = new Map<unknown, unknown>();
    const node = await FakeNode.start({
      'context.set': async ({ input }) => {
        // The earlier, the slower.
        for (let turn = Number(input['value']); turn < 40; turn += 1) await setImmediate();
        held.set(input['key'], input['value']);
        return ENTRY;
      },
    });
    expect(await runCli(['context', 'import'], { dataDir: node.folder, stdin })).toMatchObject({ code: 0 });
    expect([...held]).toEqual([
      ['k0', '38'],
      ['k1', '39'],
    ]);
  });

  it('ends at Ctrl-C, and says how many are set', async () => {
    const clock = new FakeClock();
    const { node } = await slowNode(clock, 20);
    const run = runCli(['context', 'import'], {
      dataDir: node.folder,
      clock,
      stdin: lines(100),
      onReady: (signal, _, errors) =>
        void (async () => {
          while (!errors().includes('going on')) await setImmediate();
          signal('SIGINT');
        })(),
    });
    const { code, stdout, stderr } = await run;
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(stderr).toMatch(/\nloopsy: stopped; 20 keys are set\n$/);
  });

  it('ends at Ctrl-C while nothing comes from stdin', async () => {
    const node = await FakeNode.start();
    const stdin = new PassThrough();
    stdin.write('{"key":"a","value":"b"}\n');
    const run = runCli(['context', 'import'], {
      dataDir: node.folder,
      stdin,
      onReady: (signal) =>
        void (async () => {
          while (node.inputs('context.set').length === 0) await setImmediate();
          await setImmediate();
          signal('SIGINT');
        })(),
    });
    expect(await run).toMatchObject({ code: 130, stderr: 'loopsy: stopped; 1 key is set\n' });
  });

  it('says what else is refused, with its line', async () => {
    const node = await FakeNode.start({
      'context.set': ({ input }) => {
        if (input['key'] === 'k1') throw new LoopsyError('scope_missing');
        return ENTRY;
      },
    });
    const { code, stderr } = await runCli(['context', 'import'], { dataDir: node.folder, stdin: lines(2) });
    expect([code, stderr]).toEqual([4, expect.stringContaining('line 2 of stdin: ')]);
  });
});

describe('context lease acquire', () => {
  it(verifies('cli.context.lease', 'waits for whoever holds it, as long as it is told to'), async () => {
    const clock = new FakeClock();
    let asked = 0;
    const node = await FakeNode.start({
      'lease.acquire': () => {
        asked += 1;
        if (asked < 4) throw new LoopsyError('lease_held', { message: 'held by kai' });
        return { name: 'deploy', owner: 'owner', fence: 9, expiresAt: clock.now() };
      },
    });
    const acquire = (...more: string[]) =>
      driveClock(clock, runCli(['context', 'lease', 'acquire', 'deploy', ...more], { dataDir: node.folder, clock }));
    expect(await acquire()).toMatchObject({ code: 1, stderr: expect.stringContaining('held by kai') });
    expect(await acquire('--wait', '10s')).toMatchObject({ code: 0, stderr: 'waiting: held by kai\n' });
  });

  it(verifies('cli.context.lease', 'and over what may be over soon: the rate of the peer, its restart'), async () => {
    const clock = new FakeClock();
    const why = ['rate_limited', 'lease_held', 'peer_offline', 'peer_unreachable', 'outcome_unknown'] as const;
    let asked = 0;
    const node = await FakeNode.start({
      'lease.acquire': () => {
        const error = why[asked];
        asked += 1;
        if (error !== undefined) throw new LoopsyError(error, { message: error });
        return { name: 'deploy', owner: 'owner', fence: 9, expiresAt: clock.now() };
      },
    });
    const acquire = (...more: string[]) =>
      driveClock(clock, runCli(['context', 'lease', 'acquire', 'a', ...more], { dataDir: node.folder, clock }));
    expect(await acquire('--peer', 'kai', '--wait', '1m')).toMatchObject({
      code: 0,
      stderr: why.map((one) => `waiting: ${one}\n`).join(''),
    });
    asked = 0;
    expect(await acquire('--peer', 'kai', '--wait', '5s')).toMatchObject({ code: 5 });
  });
});

describe('context lease renew and release', () => {
  it(
    verifies('cli.context.lease-fence', 'can say which hold they mean; acquire shows what is typed then'),
    async () => {
      const node = await FakeNode.start();
      const run = (...words: string[]) => runCli(['context', 'lease', ...words], { dataDir: node.folder });
      expect((await run('acquire', "kai's", '--peer', 'kai')).stdout).toMatch(
        /\n {2}for longer: {2}loopsy context lease renew 'kai'\\''s' --peer kai --fence 41\n {2}give back: {3}loopsy .* --fence 41\n$/,
      );
      expect(JSON.parse((await run('acquire', 'deploy', '--json')).stdout)).toMatchObject({ fence: 41 });
      await run('renew', 'deploy', '--fence', '41');
      await run('renew', 'deploy');
      expect(node.inputs('lease.renew')).toEqual([
        { name: 'deploy', ttl: 60, fence: 41 },
        { name: 'deploy', ttl: 60 },
      ]);
      await run('release', 'deploy', '--force', '--fence', '41');
      expect(node.inputs('lease.release')).toEqual([{ name: 'deploy', fence: 41, force: true }]);
    },
  );
});
