import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { FakeNode, JOB_ID, OUTCOME, STARTED } from '../fake-node.ts';
import { documentOf, runCli, type CliRun, type RunOptions } from '../run-cli.ts';

const { endedBy: _endedBy, ...running } = { ...OUTCOME, exitCode: null, ...STARTED };
const ANSWER = { ...running, stdout: '', stderr: '', cursor: 0, detached: true };

const start = async (
  argv: readonly string[],
  options: Partial<RunOptions> = {},
  answer: object = ANSWER,
): Promise<{ node: FakeNode; ended: CliRun }> => {
  const node = await FakeNode.start({ 'job.execute': () => answer });
  return { node, ended: await runCli(['exec', ...argv], { dataDir: node.folder, ...options }) };
};

describe('exec --detach', () => {
  it(verifies('cli.exec.detach', 'asks for a run that outlives it, and prints its id and nothing else'), async () => {
    const { node, ended } = await start(['maria', '--detach', '--cwd', '/x', 'make', '-j']);
    expect(ended).toEqual({ code: 0, stdout: `${JOB_ID}\n`, stderr: '' });
    expect(node.inputs('job.execute')).toEqual([{ command: 'make', args: ['-j'], cwd: '/x', detach: true }]);
    expect(node.seen.find(({ id }) => id === 'job.execute')?.peer).toBe('maria');
    expect(node.inputs('job.stream')).toEqual([]);
    const json = await start(['maria', '--detach', '--json', 'make']);
    expect(documentOf('job.execute', json.ended)).toEqual(ANSWER);
  });

  it('tells a person how to follow it, and that it waits', async () => {
    const { ended } = await start(['maria', '--detach', 'make'], { tty: true });
    expect(ended.stderr).toBe(`loopsy: it goes on by itself; \`loopsy jobs attach ${JOB_ID}\` follows it\n`);
    const waiting = await start(['maria', '--detach', 'make'], { tty: true }, { ...ANSWER, state: 'queued' });
    expect(waiting.ended.stderr).toContain('it waits in the queue, and goes on by itself');
    const quiet = await start(['maria', '--detach', '--quiet', 'make'], { tty: true });
    expect(quiet.ended.stderr).toBe('');
  });

  it('exits with 2 where the run could not be started', async () => {
    const node = await FakeNode.start({
      'job.execute': () => {
        throw new LoopsyError('execution_failed', { message: 'the command "x" was not found' });
      },
    });
    const ended = await runCli(['exec', 'maria', '--detach', 'x'], { dataDir: node.folder });
    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('"x" was not found') });
  });
});

describe('its stdin', () => {
  const given = (node: FakeNode): unknown => node.inputs('job.execute')[0]?.['stdin'];

  it('is what was piped in; a terminal is left alone, and so is any with -n', async () => {
    expect(given((await start(['m', '--detach', 'cat'], { stdin: 'one\nzwei ü' })).node)).toBe('one\nzwei ü');
    expect(given((await start(['m', '--detach', 'cat'])).node)).toBeUndefined();
    const untouched = new PassThrough().end('for the loop');
    expect(given((await start(['-n', 'm', '--detach', 'cat'], { stdin: untouched })).node)).toBeUndefined();
    expect(String(untouched.read())).toBe('for the loop');
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    expect(given((await start(['m', '--detach', 'cat'], { stdin: terminal })).node)).toBeUndefined();
  });

  it('is waited for to its end, as in a pipe, and that is said', async () => {
    const clock = new FakeClock();
    const stdin = new PassThrough();
    const starting = start(['m', '--detach', 'cat'], { stdin, clock });
    while (clock.waiting === 0) await setImmediate();
    clock.advance(20_000);
    stdin.write('late, ');
    while (stdin.readableLength > 0) await setImmediate();
    clock.advance(600_000);
    stdin.end('and slow');
    const { node, ended } = await starting;
    expect([ended.code, given(node)]).toEqual([0, 'late, and slow']);
    expect(ended.stderr).toBe('loopsy: waits for stdin (-n runs it without)\n');
  });

  it('that nobody writes to is given up before anything has begun', async () => {
    const clock = new FakeClock();
    const starting = start(['m', '--detach', 'cat'], { stdin: new PassThrough(), clock });
    while (clock.waiting === 0) await setImmediate();
    clock.advance(30_000);
    const { node, ended } = await starting;
    expect([ended.code, ended.stderr]).toEqual([2, expect.stringMatching(/nothing came on stdin for 30 s.*-n/)]);
    expect(node.inputs('job.execute')).toEqual([]);
  });

  it('that is no text, or too much, is refused before anything runs', async () => {
    for (const [bytes, text] of [
      [Buffer.from([0xff, 0xfe]), 'must be text'],
      [Buffer.alloc(4_200_000, 'x'), 'at most 4.2 MB'],
    ] as const) {
      const { node, ended } = await start(['m', '--detach', 'cat'], { stdin: new PassThrough().end(bytes) });
      expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(text) });
      expect(node.inputs('job.execute')).toEqual([]);
    }
  });
});
