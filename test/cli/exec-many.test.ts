import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import type { StopSignal } from '../../src/cli/cli.ts';
import { verifies } from '../requirements.ts';
import { FakeClock } from '../helpers/clock.ts';
import { FakeNode, JOB_ID, OUTCOME, PEER, STARTED, type Answering } from './fake-node.ts';
import { runCli } from './run-cli.ts';

const NAMES = ['kai', 'maria', 'bo'];
const idOf = (name: string): string => name.padEnd(32, '2');
const rowOf = (name: string) => ({ ...PEER, name, nodeId: idOf(name) });

/** A node with three peers; what a run does there is said by name. */
const nodeWith = (runs: Record<string, (answering: Answering) => void>): Promise<FakeNode> =>
  FakeNode.start({
    'peer.list': () => ({ peers: [...NAMES.map(rowOf), { ...rowOf('added'), trusted: false }] }),
    'peer.show': ({ input }) => {
      const name = NAMES.find((one) => one === input['nodeId'] || idOf(one) === input['nodeId']);
      if (name === undefined)
        throw new LoopsyError('peer_not_found', { message: `no peer is called "${String(input['nodeId'])}"` });
      return rowOf(name);
    },
    'system.identity': ({ peer }) => {
      if (peer !== 'myself') throw new LoopsyError('peer_not_found', { message: `no peer is called "${peer ?? ''}"` });
      return {
        nodeId: PEER.nodeId,
        hostname: 'myself',
        platform: 'linux',
        version: '2.0.0',
        port: 1,
        capabilities: [],
      };
    },
    'job.stream': (answering) => runs[NAMES.find((name) => idOf(name) === answering.peer) ?? 'here']?.(answering),
  });

/** Writes and ends. */
const says =
  (text: string, more: object = {}) =>
  ({ frames }: Answering): void => {
    const { send, end } = frames();
    send(FRAME.started, STARTED);
    for (const piece of text.split('§')) send(FRAME.stdout, Buffer.from(piece));
    send(FRAME.exit, { ...OUTCOME, ...more });
    end();
  };
const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');

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

  it('keeps a line without an end from filling the memory', async () => {
    const node = await nodeWith({ kai: says('x'.repeat(200_000)) });
    const { stdout } = await runCli(['exec', 'kai,', '--quiet', 'x'], { dataDir: node.folder });
    const lines = linesOf(stdout);
    expect(lines.map((line) => line.length)).toEqual([65_542, 65_542, 65_542, 3398]);
    expect(lines.map((line) => line.slice(6)).join('')).toBe('x'.repeat(200_000));
  });

  it.each([
    [['exec', 'kai', '--all', 'x'], '--all means every peer'],
    [['exec', 'kai,bo', '--detach', 'x'], '--detach starts one run'],
    [['exec', ',', 'x'], 'no peer is named'],
    [['exec', '--all'], 'needs <command>'],
  ])('refuses %j before anything runs', async (argv, message) => {
    const node = await nodeWith({});
    const { code, stderr } = await runCli(argv, { dataDir: node.folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(node.inputs('job.stream')).toEqual([]);
  });
});
