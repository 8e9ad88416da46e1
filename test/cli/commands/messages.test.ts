import { describe, expect, it } from 'vitest';

import { nextTurn } from '../../../src/kernel/turn.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';
import { MESSAGE, MESSAGE_ID } from '../fake-mail.ts';
import { FakeNode } from '../fake-node.ts';
import { runCli, type RunOptions } from '../run-cli.ts';

const taken = (): never => {
  throw new LoopsyError('message_taken');
};

const IDS = ['a', 'b', 'c'].map((end) => `${MESSAGE_ID.slice(0, -1)}${end}`);

/** A node with three messages, of which each taking is told. */
const threeWait = async (onTake: (id: string) => void): Promise<FakeNode> => {
  const node = await FakeNode.start();
  const waiting = IDS.map((id) => ({ ...MESSAGE, id }));
  node.on('message.list', () => ({ messages: waiting }));
  node.on('message.read', ({ input }) => {
    onTake(String(input['id']));
    return { ...MESSAGE, id: input['id'] };
  });
  return node;
};

describe('message', () => {
  it(verifies('cli.message.wait-away', 'wait ends when it was told to, with its node away'), async () => {
    const clock = new FakeClock();
    const begun = clock.monotonicMs();
    const node = await FakeNode.start();
    node.on('message.wait', () => {
      setTimeout(() => node.close(), 20);
      return new Promise(() => undefined);
    });
    const waiting = runCli(['message', 'wait', '--timeout', '5s'], { dataDir: node.folder, clock });
    while (node.inputs('message.wait').length === 0) await nextTurn();
    expect(await driveClock(clock, waiting)).toMatchObject({ code: 6, stdout: '' });
    expect(clock.monotonicMs() - begun).toBeLessThan(6000);
  });

  it.each(['', '--json'])('inbox %s shows each message before it takes the next one', async (json) => {
    const shown: string[] = [];
    let output = (): string => '';
    const node = await threeWait(() => shown.push(output()));
    const onReady: RunOptions['onReady'] = (_, text) => (output = text);
    const line = ['message', 'inbox', ...(json === '' ? [] : [json])];
    const { code, stdout } = await runCli(line, { dataDir: node.folder, onReady });
    expect(code).toBe(0);
    expect(shown.map((text) => IDS.filter((id) => text.includes(id)))).toEqual([[], IDS.slice(0, 1), IDS.slice(0, 2)]);
    if (json !== '') expect(JSON.parse(stdout)).toMatchObject({ messages: IDS.map((id) => ({ id })) });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('inbox takes nothing more after %s, shows what it has taken, and is valid JSON', async (name, ends) => {
    let send = (): void => undefined;
    const node = await threeWait((id) => (id === IDS[1] ? send() : undefined));
    const onReady: RunOptions['onReady'] = (signal) => (send = () => signal(name));
    const { code, stdout } = await runCli(['message', 'inbox', '--json'], { dataDir: node.folder, onReady });
    expect(code).toBe(ends);
    expect(JSON.parse(stdout)).toMatchObject({ messages: [{ id: IDS[0] }, { id: IDS[1] }] });
    expect(node.inputs('message.read').map(({ id }) => id)).toEqual(IDS.slice(0, 2));
  });

  it('inbox says why it ended behind what it has shown, in one valid document', async () => {
    const node = await threeWait((id) => {
      if (id === IDS[1]) throw new LoopsyError('disk_full');
    });
    const { code, stdout } = await runCli(['message', 'inbox', '--json'], { dataDir: node.folder });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ messages: [{ id: IDS[0] }], error: { name: 'disk_full' } });
  });

  it.each(['inbox', 'watch'])('%s names what may have been taken while the connection broke', async (verb) => {
    const node = await threeWait(() => undefined);
    node.on('message.wait', () => ({ messages: [{ ...MESSAGE, id: IDS[0] }], more: false }));
    node.on('message.read', ({ response }) => {
      response.destroy();
      node.close();
    });
    const clock = new FakeClock();
    const { code, stderr } = await driveClock(clock, runCli(['message', verb], { dataDir: node.folder, clock }));
    expect(code).not.toBe(0);
    expect(stderr).toContain(`${IDS[0] ?? ''} may have been taken, and was not shown`);
  });

  it('watch ends at SIGINT, behind the message that it has in hand', async () => {
    const node = await FakeNode.start();
    let send = (): void => undefined;
    node.on('message.read', () => {
      send();
      return MESSAGE;
    });
    const onReady: RunOptions['onReady'] = (signal) => (send = () => signal('SIGINT'));
    const { code, stdout } = await runCli(['message', 'watch', '--json'], { dataDir: node.folder, onReady });
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ id: MESSAGE_ID });
    const idle = await FakeNode.start();
    idle.on('message.wait', () => {
      setImmediate(send);
      return new Promise(() => undefined);
    });
    expect((await runCli(['message', 'watch'], { dataDir: idle.folder, onReady })).code).toBe(130);
    expect((await runCli(['message', 'wait'], { dataDir: idle.folder, onReady })).code).toBe(130);
  });

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

  it('says where a named key has written, and not the owner there', async () => {
    const node = await FakeNode.start();
    node.on('message.read', () => ({ ...MESSAGE, by: 'key:ci' }));
    node.on('message.list', () => ({ messages: [{ ...MESSAGE, by: 'key:ci' }] }));
    node.on('message.show', () => ({ ...MESSAGE, by: 'key:ci' }));
    for (const words of [['inbox'], ['inbox', '--all'], ['wait'], ['show', MESSAGE_ID]]) {
      const { stdout } = await runCli(['message', ...words], { dataDir: node.folder });
      expect(stdout).toContain('maria#codex (key:ci) ');
      const json = await runCli(['message', ...words, '--json'], { dataDir: node.folder });
      expect(json.stdout).toContain('"by":"key:ci"');
    }
  });

  it('ack says where the message was acknowledged before, and what is said now is not kept', async () => {
    const node = await FakeNode.start();
    const acked = (note?: string) => ({
      ...MESSAGE,
      state: 'acked',
      history: [...MESSAGE.history, { state: 'acked', at: 1_799_999_002_000, note }],
    });
    node.on('message.ack', () => acked('first'));
    const ack = (...more: string[]) => runCli(['message', 'ack', MESSAGE_ID, ...more], { dataDir: node.folder });
    expect((await ack('--note', 'first')).stdout).toBe('Acknowledged to maria#codex.\n');
    const again = 'It was acknowledged already: maria#codex does not get the new note.\n';
    expect(await ack('--note', 'again')).toMatchObject({ code: 0, stdout: again });
    expect((await ack()).stdout).toBe('It was acknowledged already.\n');
    node.on('message.ack', () => acked());
    expect((await ack()).stdout).toBe('Acknowledged to maria#codex.\n');
    expect((await ack('--note', 'again')).stdout).toBe(again);
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

  it('wait asks a few times a second, where what waits can never be taken', async () => {
    const node = await FakeNode.start();
    const clock = new FakeClock();
    node.on('message.read', () => {
      // The time that an answer takes.
      clock.advance(2);
      throw new LoopsyError('message_expired');
    });
    const run = runCli(['message', 'wait', '--timeout', '2s'], { dataDir: node.folder, clock });
    expect(await driveClock(clock, run)).toMatchObject({ code: 6 });
    expect(node.inputs('message.wait').length).toBeLessThanOrEqual(10);
  });

  it('watch --peek shows what comes behind any number of unread ones, once, and asks no more than that', async () => {
    const node = await FakeNode.start();
    let send = (): void => undefined;
    node.on('message.wait', ({ input }) => {
      if (input['after'] === '0') return { messages: [MESSAGE], more: true, cursor: `7.${MESSAGE_ID}` };
      if (input['after'] === `7.${MESSAGE_ID}`)
        return { messages: [{ ...MESSAGE, id: IDS[1] }], more: false, cursor: '8' };
      setImmediate(send);
      return new Promise(() => undefined);
    });
    const onReady: RunOptions['onReady'] = (signal) => (send = () => signal('SIGINT'));
    const line = ['message', 'watch', '--peek', '--json'];
    const { code, stdout } = await runCli(line, { dataDir: node.folder, onReady });
    expect(code).toBe(130);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((text) => JSON.parse(text)),
    ).toMatchObject([{ id: MESSAGE_ID }, { id: IDS[1] }]);
    expect(node.inputs('message.wait').map(({ after }) => after)).toEqual(['0', `7.${MESSAGE_ID}`, '8']);
    expect(node.inputs('message.read')).toEqual([]);
  });

  it('watch acknowledges what its command did when the node is back, and goes on', async () => {
    const node = await threeWait(() => undefined);
    const acks: unknown[] = [];
    let send = (): void => undefined;
    const left = [...IDS];
    node.on('message.wait', () => ({ messages: left.splice(0, 1).map((id) => ({ ...MESSAGE, id })), more: false }));
    node.on('message.ack', ({ input, response }) => {
      acks.push(input['id']);
      if (acks.length === 1) return void response.destroy();
      if (input['id'] === IDS[1]) throw new LoopsyError('message_not_found');
      if (input['id'] === IDS[2]) send();
      return { ...MESSAGE, id: input['id'], state: 'acked' };
    });
    const clock = new FakeClock();
    const onReady: RunOptions['onReady'] = (signal) => (send = () => signal('SIGINT'));
    const line = ['message', 'watch', '--as', 'ci', '--exec', 'exit 0'];
    const run = runCli(line, { dataDir: node.folder, clock, onReady });
    const { code, stderr } = await driveClock(clock, run);
    expect(code).toBe(130);
    expect(acks).toEqual([IDS[0], ...IDS]);
    expect(node.inputs('message.ack')[1]).toEqual({ id: IDS[0], as: 'ci' });
    expect(stderr).toContain(`${IDS[1] ?? ''} can't be acknowledged any more`);
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

  it.each(['maria', '--all'])(
    'send %s says that it is queued where the node goes, or fails, before more is known',
    async (to) => {
      for (const end of [(node: FakeNode) => node.close(), () => undefined]) {
        const clock = new FakeClock();
        const node = await FakeNode.start();
        node.on('message.send', () => ({ id: MESSAGE_ID, state: 'queued', to: 'maria' }));
        const fail = (): never => {
          end(node);
          throw new LoopsyError('internal');
        };
        node.on('message.show', () => {
          node.on('message.addresses', fail);
          return fail();
        });
        const run = driveClock(clock, runCli(['message', 'send', to, 'hello'], { dataDir: node.folder, clock }));
        expect(await run).toMatchObject({
          code: 0,
          stdout: `Queued for maria: this node does not say more now; it goes when both are there (${MESSAGE_ID}).\n`,
        });
      }
    },
  );

  it('send says so where the message waits', async () => {
    const node = await FakeNode.start();
    node.on('message.send', () => ({ id: MESSAGE_ID, state: 'queued', to: 'maria' }));
    node.on('message.show', () => ({ ...MESSAGE, state: 'queued', history: [] }));
    const clock = new FakeClock();
    const { stdout } = await driveClock(
      clock,
      runCli(['message', 'send', 'maria', 'hello'], { dataDir: node.folder, clock }),
    );
    const online = 'not handed over yet; it is tried again until maria has it';
    expect(stdout).toBe(`Queued for maria: ${online} (${MESSAGE_ID}).\n`);
    node.on('message.addresses', () => ({ addresses: [{ address: 'maria', status: 'offline' }] }));
    const away = await driveClock(
      clock,
      runCli(['message', 'send', 'maria', 'hello'], { dataDir: node.folder, clock }),
    );
    expect(away.stdout).toBe(`Queued for maria: it goes when maria is there (${MESSAGE_ID}).\n`);
  });

  it.each(['refused', 'expired'])('send fails where it is known by now that the message was %s', async (state) => {
    const node = await FakeNode.start();
    node.on('message.send', () => ({ id: MESSAGE_ID, state: 'queued', to: 'maria' }));
    node.on('message.show', () => ({ ...MESSAGE, state, history: [{ state, at: 1, note: 'too much' }] }));
    const text = `Not delivered to maria: too much (${MESSAGE_ID}).\n`;
    const clock = new FakeClock();
    for (const words of [
      ['send', 'maria', 'x'],
      ['send', '--all', 'x'],
      ['reply', MESSAGE_ID, 'x'],
    ]) {
      const run = runCli(['message', ...words], { dataDir: node.folder, clock });
      expect(await driveClock(clock, run)).toMatchObject({ code: 1, stdout: text });
    }
    node.on('message.addresses', () => ({
      addresses: ['ben', 'maria'].map((address) => ({ address, status: 'online' })),
    }));
    node.on('message.send', ({ input: { to } }) => ({
      id: MESSAGE_ID,
      state: to === 'ben' ? 'delivered' : 'queued',
      to,
    }));
    const run = runCli(['message', 'send', '--all', 'x'], { dataDir: node.folder, clock });
    expect(await driveClock(clock, run)).toMatchObject({
      code: 1,
      stdout: `Delivered to ben (${MESSAGE_ID}).\n${text}`,
    });
  });

  it('send says until when two have to rest', async () => {
    const node = await FakeNode.start();
    node.on('message.send', () => {
      throw new LoopsyError('message_loop', { message: 'both rest', details: { why: 'loop', retryAfterMs: 179_001 } });
    });
    const one = await driveClock(new FakeClock(), runCli(['message', 'send', 'maria', 'x'], { dataDir: node.folder }));
    expect(one).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('loopsy: both rest\n  try again in 3 min\n'),
    });
    const all = await runCli(['message', 'send', '--all', 'x'], { dataDir: node.folder });
    expect(all.stdout).toBe('Not sent to maria: both rest; try again in 3 min\n');
  });

  it('names a few of the labels that others wait for, and all in the list of addresses', async () => {
    const node = await FakeNode.start();
    const labels = Array.from({ length: 200 }, (_, at) => ({ address: `kai#t${at}`, status: 'here', unread: 1 }));
    node.on('message.list', () => ({ messages: [] }));
    node.on('message.addresses', () => ({ addresses: labels, more: true }));
    const { stdout } = await runCli(['message', 'inbox'], { dataDir: node.folder });
    const named = '1 for #t0, 1 for #t1, 1 for #t2, for more than 197 more: `loopsy message addresses`';
    expect(stdout).toBe(`Nothing waits to be read here; ${named}.\n`);
    const all = await runCli(['message', 'addresses'], { dataDir: node.folder });
    expect(all.stdout.trimEnd().split('\n').length).toBe(202);
    expect(all.stdout).toContain('Mail waits for more labels than are listed.\n');
  });

  it.each([
    [['send', 'maria'], 'needs <body>'],
    [['send', 'maria', 'x', '--type', 'shout'], 'no type of a message'],
    [
      ['send', 'maria', 'x', '--ttl', '0'],
      'without --ttl it may wait to be read for messages.ttl of the config: a week',
    ],
    [['outbox', '--dead', '--waiting'], 'nothing together'],
    [['wait', '--timeout', 'soon'], 'no time for --timeout'],
  ])('%s is a mistake that is told', async (line, text) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(['message', ...line], { dataDir: node.folder });
    expect(code).toBe(2);
    expect(stderr).toContain(text);
  });
});
