import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { MESSAGE, MESSAGE_ID } from '../fake-mail.ts';
import { FakeNode } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const taken = (): never => {
  throw new LoopsyError('message_taken');
};

describe('message', () => {
  it('inbox takes each message, and goes on where somebody else was quicker', async () => {
    const node = await FakeNode.start();
    const other = '01j8zq0v3m8k2t4n6p8r0s2v70';
    node.on('message.list', () => ({ messages: [{ ...MESSAGE, id: other }, MESSAGE] }));
    node.on('message.read', ({ input }) => (input['id'] === other ? taken() : MESSAGE));
    const { code, stdout } = await runCli(['message', 'inbox', '--json', '--as', 'ci'], { dataDir: node.folder });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ messages: [{ id: MESSAGE_ID }] });
    expect(node.inputs('message.read')).toEqual([
      { id: other, as: 'ci' },
      { id: MESSAGE_ID, as: 'ci' },
    ]);
  });

  it('inbox says what waits for others where nothing waits here', async () => {
    const node = await FakeNode.start();
    node.on('message.list', () => ({ messages: [] }));
    const { stdout } = await runCli(['message'], { dataDir: node.folder });
    expect(stdout).toBe('Nothing waits to be read here; 2 for #claude.\n');
  });

  it('wait takes the first message, or gives up in time', async () => {
    const node = await FakeNode.start();
    const got = await runCli(['message', 'wait', '--timeout', '5s', '--from', 'maria'], { dataDir: node.folder });
    expect(got.code).toBe(0);
    expect(got.stdout).toContain('maria#codex → kai');
    expect(node.inputs('message.wait')).toEqual([{ timeoutMs: 5000, from: 'maria' }]);
    expect(node.inputs('message.read')).toEqual([{ id: MESSAGE_ID }]);
    const clock = new FakeClock();
    node.on('message.wait', () => {
      clock.advance(3000);
      return { messages: [], more: false };
    });
    const late = await driveClock(
      clock,
      runCli(['message', 'wait', '--timeout', '5s'], { dataDir: node.folder, clock }),
    );
    expect(late).toMatchObject({ code: 6, stderr: expect.stringContaining('no message came in time') });
  });

  it('send --all writes to each peer, and says what became of each', async () => {
    const node = await FakeNode.start();
    const { code, stdout } = await runCli(['message', 'send', '--all', 'rebooting'], { dataDir: node.folder });
    expect({ code, stdout }).toEqual({ code: 0, stdout: `Delivered to maria#codex (${MESSAGE_ID}).\n` });
    expect(node.inputs('message.send')).toEqual([{ to: 'maria', body: 'rebooting', type: 'broadcast' }]);
    node.on('message.send', () => {
      throw new LoopsyError('mailbox_full');
    });
    const full = await runCli(['message', 'send', '--all', 'x'], { dataDir: node.folder });
    expect(full).toMatchObject({ code: 1, stdout: 'Not sent to maria: the mailbox is full\n' });
  });

  it('send says so where the message waits', async () => {
    const node = await FakeNode.start();
    node.on('message.send', () => ({ id: MESSAGE_ID, state: 'queued', to: 'maria' }));
    node.on('message.show', () => ({ ...MESSAGE, state: 'queued', history: [] }));
    const clock = new FakeClock();
    const { stdout } = await driveClock(
      clock,
      runCli(['message', 'send', 'maria', 'hello'], { dataDir: node.folder, clock }),
    );
    expect(stdout).toBe(`Queued for maria: it goes when maria is there (${MESSAGE_ID}).\n`);
  });

  it.each([
    [['send', 'maria'], 'needs <body>'],
    [['send', 'maria', 'x', '--type', 'shout'], 'no type of a message'],
    [['send', 'maria', 'x', '--ttl', '0'], 'no time to live'],
    [['outbox', '--dead', '--waiting'], 'nothing together'],
    [['wait', '--timeout', 'soon'], 'no time for --timeout'],
  ])('%s is a mistake that is told', async (line, text) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(['message', ...line], { dataDir: node.folder });
    expect(code).toBe(2);
    expect(stderr).toContain(text);
  });
});
