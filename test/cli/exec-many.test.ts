import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import type { StopSignal } from '../../src/cli/cli.ts';
import { verifies } from '../requirements.ts';
import { FakeClock } from '../helpers/clock.ts';
import { FakeNode, JOB_ID, OUTCOME, STARTED, type Answering } from './fake-node.ts';
import { runCli } from './run-cli.ts';
import { hangs, idOf, linesOf, nodeWith, rowOf, says } from './three-peers.ts';

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setImmediate();
};

/** Names that are different ids, too. */
const nameAt = (at: number): string => `n${String.fromCodePoint(97 + Math.floor(at / 26), 97 + (at % 26))}`;

describe('a command on several peers', () => {
  it(verifies('cli.exec.many', 'prints whole lines with the name before them, and one table'), async () => {
    const node = await nodeWith({ kai: says('o§ne\ntwo§'), maria: says('three\n') });
    const { code, stdout, stderr } = await runCli(['exec', 'kai,maria', 'ls', '-la'], { dataDir: node.folder });
    expect(code).toBe(0);
    expect(linesOf(stdout).toSorted()).toEqual(['kai   | one', 'kai   | two', 'maria | three']);
    expect(linesOf(stderr).map((line) => line.replace(/\d+ ms/, 'x ms'))).toEqual([
      'PEER   RESULT  TIME',
      'kai    ok      x ms',
      'maria  ok      x ms',
    ]);
    expect(node.inputs('job.stream')).toEqual([
      { command: 'ls', args: ['-la'] },
      { command: 'ls', args: ['-la'] },
    ]);
  });

  it(verifies('cli.exec.many', 'ends with 0 only if all did, and says of each how it ended'), async () => {
    const node = await nodeWith({
      kai: says(''),
      maria: says('', { exitCode: 3 }),
      bo: says('', { exitCode: null, signal: 'SIGKILL', killed: true, endedBy: 'timeout' }),
    });
    const { code, stderr } = await runCli(['exec', '--all', 'x'], { dataDir: node.folder });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^kai +ok .*\nmaria +exit 3 .*\nbo +timed out /m);
  });

  it('with --all goes to the trusted peers that are online, and names the absent ones', async () => {
    const node = await nodeWith({ kai: says('x\n'), bo: says('x\n') });
    const away = { ...rowOf('maria'), status: 'offline', reason: 'no\u202E answer' };
    node.on('peer.list', ({ input }) =>
      input['cursor'] === undefined ? { peers: [rowOf('kai'), away], nextCursor: 'more' } : { peers: [rowOf('bo')] },
    );
    const { code, stdout, stderr } = await runCli(['exec', '--all', '--', 'uptime'], { dataDir: node.folder });
    expect([code, linesOf(stdout).length]).toEqual([0, 2]);
    expect(stderr).toContain('maria  absent: no\\u{202e} answer  -');
    node.on('peer.list', () => ({ peers: [away] }));
    const none = await runCli(['exec', '--all', 'uptime'], { dataDir: node.folder });
    expect([none.code, none.stderr]).toEqual([5, expect.stringContaining('none of 1 peer is online')]);
  });

  it('goes to each machine once, however often and by whatever name it is said, and to this one as localhost', async () => {
    const node = await nodeWith({ kai: says(''), here: says('') });
    await runCli(['exec', `kai,${idOf('kai')},kai,localhost,myself`, 'x'], { dataDir: node.folder });
    const asked = node.seen.filter(({ id }) => id === 'job.stream').map(({ peer }) => peer);
    expect([asked.length, new Set(asked)]).toEqual([2, new Set([idOf('kai'), undefined])]);
  });

  it('runs nothing anywhere where one name is wrong', async () => {
    const node = await nodeWith({ kai: says('') });
    const { code, stderr } = await runCli(['exec', 'kai,mraia', 'x'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining('no peer is called "mraia"')]);
    expect(node.inputs('job.stream')).toEqual([]);
  });

  it('goes on where one refuses, dies in the middle or was never reached', async () => {
    const node = await nodeWith({
      kai: says('fine\n'),
      maria: () => {
        throw new LoopsyError('peer_unreachable', { message: 'nothing listens there' });
      },
      bo: ({ frames }) => {
        const { send, cut } = frames();
        send(FRAME.started, STARTED);
        send(FRAME.stdout, Buffer.from('half a li'));
        setTimeout(cut, 20);
      },
    });
    node.on('job.output', () => {
      throw new LoopsyError('outcome_unknown', { message: 'it is gone' });
    });
    const { code, stdout, stderr } = await runCli(['exec', '--all', 'x'], { dataDir: node.folder });
    expect(code).toBe(1);
    expect(linesOf(stdout).toSorted()).toEqual(['bo    | half a li', 'kai   | fine']);
    expect(stderr).toMatch(/^kai +ok .*\nmaria +nothing listens there .*\nbo +it is gone /m);
    expect(linesOf(stderr).slice(-2)).toEqual([
      expect.stringMatching(/^ {2}maria: check the address, /),
      expect.stringMatching(/^ {2}bo: /),
    ]);
  });

  it('says a hint that holds for several once, and trims names', async () => {
    const denied = (): never => {
      throw new LoopsyError('command_denied', { message: 'no', hint: 'ask its owner' });
    };
    const node = await nodeWith({ kai: denied, maria: denied });
    const { code, stderr } = await runCli(['exec', ' kai, maria ', 'x'], { dataDir: node.folder });
    expect([code, linesOf(stderr).at(-1)]).toEqual([1, '  kai, maria: ask its owner']);
  });

  it('names one that hangs when the others are done, and Ctrl-C reaches it', async () => {
    const clock = new FakeClock();
    let send: (name: StopSignal) => void = () => undefined;
    const node = await nodeWith({
      kai: says(''),
      maria: ({ frames }) => {
        const stream = frames();
        stream.send(FRAME.started, STARTED);
        setTimeout(() => clock.advance(3000), 50);
        setTimeout(() => send('SIGINT'), 100);
        node.on('job.signal', () => {
          stream.send(FRAME.exit, { ...OUTCOME, exitCode: null, signal: 'SIGINT' });
          stream.end();
          return { success: true, jobId: JOB_ID, delivered: true };
        });
      },
    });
    const { code, stderr } = await runCli(['exec', 'kai,maria', 'x'], {
      dataDir: node.folder,
      clock,
      onReady: (signal) => (send = signal),
    });
    expect(stderr).toContain('loopsy: waits for maria (Ctrl-C reaches them, twice ends them)\n');
    expect(stderr).toMatch(/^maria +exit 130 /m);
    expect(code).toBe(130);
  });

  it('names at most five, and none that still writes or while most go on', async () => {
    const names = Array.from({ length: 16 }, (_, at) => nameAt(at));
    const clock = new FakeClock();
    const streams: ReturnType<Answering['frames']>[] = [];
    const node = await FakeNode.start({
      'peer.list': () => ({ peers: names.map(rowOf) }),
      'job.stream': ({ frames }) => {
        const stream = frames();
        stream.send(FRAME.started, STARTED);
        streams.push(stream);
      },
    });
    let output = (): string => '';
    const running = runCli(['exec', '--all', 'x'], {
      dataDir: node.folder,
      clock,
      onReady: (_, text) => (output = text),
    });
    const finish = (stream?: ReturnType<Answering['frames']>): void => {
      stream?.send(FRAME.stdout, Buffer.from('done\n'));
      stream?.send(FRAME.exit, OUTCOME);
      stream?.end();
    };
    const printed = (word: string, times: number): Promise<void> =>
      until(() => output().split(`${word}\n`).length === times + 1);
    await until(() => streams.length === names.length && clock.waiting > 0);
    clock.advance(3500);
    for (const stream of streams.slice(0, 8)) finish(stream);
    await printed('done', 8);
    streams.at(-1)?.send(FRAME.stdout, Buffer.from('busy\n'));
    await printed('busy', 1);
    clock.advance(1500);
    clock.advance(1000);
    for (const stream of streams.slice(8)) finish(stream);
    const { code, stderr } = await running;
    expect(code).toBe(0);
    expect(linesOf(stderr).filter((line) => line.startsWith('loopsy:'))).toEqual([
      expect.stringMatching(/^loopsy: waits for (?:n\w\w, ){4}n\w\w and 2 more \(/),
    ]);
  });

  it('is not kept from any by others that hang, however many these are', async () => {
    const names = [...Array.from({ length: 70 }, (_, at) => nameAt(at)), 'kai'];
    let send: (name: StopSignal) => void = () => undefined;
    const node = await FakeNode.start({
      'peer.list': () => ({ peers: names.map(rowOf) }),
      'job.stream': (answering) => {
        if (answering.peer !== idOf('kai')) return hangs(answering);
        setTimeout(() => send('SIGTERM'), 200);
        return says('through\n')(answering);
      },
    });
    const { code, stdout } = await runCli(['exec', '--all', 'x'], {
      dataDir: node.folder,
      onReady: (signal) => (send = signal),
    });
    expect([code, stdout]).toEqual([143, 'kai | through\n']);
  });

  it('ends with 0 where all caught Ctrl-C and did, as a single run does', async () => {
    let send: (name: StopSignal) => void = () => undefined;
    const node = await nodeWith({
      kai: says(''),
      maria: ({ frames }) => {
        const stream = frames();
        stream.send(FRAME.started, STARTED);
        setTimeout(() => send('SIGINT'), 50);
        node.on('job.signal', () => {
          stream.send(FRAME.exit, OUTCOME);
          stream.end();
          return { success: true, jobId: JOB_ID, delivered: true };
        });
      },
    });
    const { code } = await runCli(['exec', 'kai,maria', 'x'], {
      dataDir: node.folder,
      onReady: (signal) => (send = signal),
    });
    expect(code).toBe(0);
  });

  it('leaves at Ctrl-C one that nothing was heard of', async () => {
    let send: (name: StopSignal) => void = () => undefined;
    const node = await nodeWith({ kai: says(''), maria: () => void setTimeout(() => send('SIGINT'), 50) });
    node.on('job.stream', ({ peer, ...answering }) => {
      if (peer === idOf('kai')) return says('')({ peer, ...answering });
      setTimeout(() => send('SIGINT'), 50);
      return new Promise(() => undefined);
    });
    const { code, stderr } = await runCli(['exec', 'kai,maria', 'x'], {
      dataDir: node.folder,
      onReady: (signal) => (send = signal),
    });
    expect([code, stderr]).toEqual([130, expect.stringMatching(/^maria +left: how it ended is not known /m)]);
  });

  it('prints one line of JSON an event with the peer in it, and a summary', async () => {
    const node = await nodeWith({ kai: says('') });
    node.on('job.stream', ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const event = (type: string, data: unknown) =>
        `data: ${JSON.stringify({ type, data, jobId: JOB_ID, timestamp: 1 })}\n\n`;
      response.end(`${event('started', STARTED)}${event('exit', OUTCOME)}`);
    });
    const { code, stdout, stderr } = await runCli(['exec', 'kai,bo', '--json', 'x'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([0, '']);
    const documents: { peer?: string; type: string }[] = linesOf(stdout).map((line) => JSON.parse(line));
    expect(documents.map(({ peer, type }) => `${peer ?? ''} ${type}`).toSorted()).toEqual([
      ' summary',
      'bo exit',
      'bo started',
      'kai exit',
      'kai started',
    ]);
    expect(documents.at(-1)).toMatchObject({
      results: [
        { name: 'kai', exitCode: 0 },
        { name: 'bo', exitCode: 0 },
      ],
    });
  });

  it('prints in JSON at once that one failed', async () => {
    let output = (): string => '';
    const node = await nodeWith({});
    const stream = (response: Answering['response'], data: object) =>
      response.end(`data: ${JSON.stringify({ jobId: JOB_ID, timestamp: 1, ...data })}\n\n`);
    node.on('job.stream', async ({ peer, response }) => {
      if (peer === idOf('maria')) throw new LoopsyError('command_denied', { message: 'no' });
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (peer === idOf('bo')) return stream(response, { type: 'error', data: new LoopsyError('revoked').toBody() });
      await until(() => output().split('"error"').length > 2);
      return stream(response, { type: 'exit', data: OUTCOME });
    });
    const { code, stdout } = await runCli(['exec', '--all', '--json', 'x'], {
      dataDir: node.folder,
      onReady: (_, text) => (output = text),
    });
    expect(code).toBe(1);
    const documents: { peer?: string; type: string }[] = linesOf(stdout).map((line) => JSON.parse(line));
    expect(documents.find(({ peer }) => peer === 'maria')).toEqual({
      peer: 'maria',
      type: 'error',
      data: new LoopsyError('command_denied', { message: 'no' }).toBody(),
      timestamp: expect.any(Number),
    });
    expect(documents.at(-1)).toMatchObject({
      results: [
        { name: 'kai', exitCode: 0 },
        { name: 'maria', reason: 'no' },
        { name: 'bo', reason: new LoopsyError('revoked').message },
      ],
    });
  });

  it('keeps a line without an end from filling the memory', async () => {
    const node = await nodeWith({ kai: says('x'.repeat(200_000)) });
    const { stdout } = await runCli(['exec', 'kai,', '--quiet', 'x'], { dataDir: node.folder });
    const lines = linesOf(stdout);
    expect(lines.map((line) => line.length)).toEqual([65_542, 65_542, 65_542, 3398]);
    expect(lines.map((line) => line.slice(6)).join('')).toBe('x'.repeat(200_000));
  });

  it.each([
    [['exec', 'kai', '--all', 'x'], '--all means every peer'],
    [['exec', ',', 'x'], 'no peer is named'],
    [['exec', '--all'], 'needs <command>'],
  ])('refuses %j before anything runs', async (argv, message) => {
    const node = await nodeWith({});
    const { code, stderr } = await runCli(argv, { dataDir: node.folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(node.inputs('job.stream')).toEqual([]);
  });
});

describe('its stdin', () => {
  it(verifies('cli.exec.many', 'is refused where something stands there, before anything runs'), async () => {
    const node = await nodeWith({ kai: says('') });
    const { code, stderr } = await runCli(['exec', '--all', '--', 'cat'], { dataDir: node.folder, stdin: 'data' });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/stdin goes to one machine.*-n/)]);
    expect(node.inputs('job.stream')).toEqual([]);
  });

  it('is left alone with -n, at a terminal, and where it is empty', async () => {
    const node = await nodeWith({ kai: says('') });
    const untouched = new PassThrough().end('for the loop');
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    for (const [argv, stdin] of [
      [['-n', 'kai,'], untouched],
      [['kai,'], terminal],
      [['kai,'], ''],
    ] as const)
      expect(await runCli(['exec', ...argv, 'x'], { dataDir: node.folder, stdin })).toMatchObject({ code: 0 });
    expect(String(untouched.read())).toBe('for the loop');
  });

  it('that nobody writes to holds nothing up; what comes later is not dropped without a word', async () => {
    const clock = new FakeClock();
    const stdin = new PassThrough();
    let finish = (): void => undefined;
    const node = await nodeWith({
      kai: ({ frames }) => {
        const stream = frames();
        stream.send(FRAME.started, STARTED);
        finish = () => {
          stream.send(FRAME.exit, OUTCOME);
          stream.end();
        };
        stdin.write('late');
        setTimeout(() => finish(), 50);
      },
    });
    const running = runCli(['exec', 'kai,', 'x'], { dataDir: node.folder, clock, stdin });
    await until(() => clock.waiting > 0);
    clock.advance(250);
    const { code, stderr } = await running;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^loopsy: .*stdin .* dropped/m)]);
  });
});
