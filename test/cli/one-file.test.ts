import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { HEADERS } from '../../src/protocol/requests.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';
import { FakeNode, textOf, type Answering } from './fake-node.ts';
import { runCli } from './run-cli.ts';

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Takes a form, as a node does that has nothing but a disk. */
const pushed = async (checksum?: string) => {
  const forms: string[] = [];
  const node = await FakeNode.start({
    'file.push': async ({ request }: Answering) => {
      const form = await textOf(request);
      forms.push(form);
      const file = /octet-stream\r\n\r\n([^]*)\r\n--[0-9a-f]{32}--\r\n$/.exec(form)?.[1] ?? 'no file';
      return { path: '/home/maria/x.sql', size: file.length, checksum: checksum ?? hashOf(file), duration: 1 };
    },
  });
  return { node, forms };
};

describe('send <peer> - <dest>', () => {
  it(verifies('cli.transfer.stdio', 'writes what comes on stdin to its end, as one file'), async () => {
    const { node, forms } = await pushed();
    const clock = new FakeClock();
    const stdin = new PassThrough();
    const sent = runCli(['send', 'maria', '-', 'dumps/x.sql'], { dataDir: node.folder, stdin, clock });
    while (clock.waiting === 0) await setImmediate();
    clock.advance(1000);
    stdin.write('select ');
    stdin.end('1;');
    expect(await sent).toEqual({
      code: 0,
      stdout: '9 B in 0 ms to maria:/home/maria/x.sql\n',
      stderr: 'loopsy: waits for stdin\n',
    });
    expect(forms[0]).toContain('name="destPath"\r\n\r\ndumps/x.sql\r\n');
    expect(forms[0]).toContain('\r\n\r\nselect 1;\r\n');
    expect(node.seen.find(({ id }) => id === 'file.push')?.peer).toBe('maria');
    expect(clock.waiting).toBe(0);
  });

  it(verifies('cli.transfer.stdio', 'makes an empty file of the null device, as `cat` would'), async () => {
    const { node, forms } = await pushed();
    const { code, stdout } = await runCli(['send', 'maria', '-', 'x'], { dataDir: node.folder, stdin: null });
    expect([code, stdout]).toEqual([0, '0 B in 0 ms to maria:/home/maria/x.sql\n']);
    expect(forms[0]).toContain('octet-stream\r\n\r\n\r\n--');
  });

  it('prints one document with --json, nothing with --quiet, and a line on a terminal meanwhile', async () => {
    const { node } = await pushed();
    const send = (...more: string[]) =>
      runCli(['send', 'localhost', '-', 'x', ...more], { dataDir: node.folder, stdin: 'a', tty: true });
    expect((await send()).stderr).toBe('\r\u001B[K1 B\r\u001B[K');
    expect((await send()).stdout).toBe('1 B in 0 ms to /home/maria/x.sql\n');
    const json = await send('--json');
    expect([json.stderr, JSON.parse(json.stdout)]).toEqual([
      '',
      expect.objectContaining({ path: '/home/maria/x.sql' }),
    ]);
    expect(await send('--quiet')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(node.seen.find(({ id }) => id === 'file.push')?.peer).toBeUndefined();
  });

  it('is no success where something else lies there', async () => {
    const { node } = await pushed(hashOf('something else'));
    const { code, stdout, stderr } = await runCli(['send', 'maria', '-', 'x'], { dataDir: node.folder, stdin: 'a' });
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining('is not what came on stdin')]);
  });

  it('says why the node did not take it', async () => {
    const node = await FakeNode.start({
      'file.push': async ({ request }) => {
        await textOf(request);
        throw new LoopsyError('disk_full');
      },
    });
    const { code, stderr } = await runCli(['send', 'maria', '-', 'x'], { dataDir: node.folder, stdin: 'a' });
    expect([code, stderr]).toEqual([1, expect.stringContaining('not enough space')]);
  });

  it('ends at Ctrl-C, also where nothing has come yet', async () => {
    const { node } = await pushed();
    const stdin = new PassThrough();
    const { code, stderr } = await runCli(['send', 'maria', '-', 'x'], {
      dataDir: node.folder,
      stdin,
      onReady: (signal) =>
        void (async () => {
          while (stdin.listenerCount('readable') === 0 || node.seen.length === 0) await setImmediate();
          await new Promise((resolve) => setTimeout(resolve, 50));
          signal('SIGINT');
        })(),
    });
    expect([code, stderr]).toEqual([130, 'loopsy: stopped before the file was complete\n']);
    expect(node.inputs('file.push')).toEqual([]);
  });
});

/** Answers with a file's bytes, and a checksum behind them. */
const pulling =
  (text: string, checksum = hashOf(text)) =>
  ({ response }: Answering): void => {
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      [HEADERS.size]: String(Buffer.byteLength(text)),
      trailer: HEADERS.checksum,
    });
    response.addTrailers({ [HEADERS.checksum]: checksum });
    response.end(text);
  };

describe('pull <peer> <src> -', () => {
  it(verifies('cli.transfer.stdio', 'writes the bytes of one file to stdout, and nothing else'), async () => {
    const node = await FakeNode.start({ 'file.pull': pulling('grüße\n') });
    expect(await runCli(['pull', 'maria', '~/x', '-'], { dataDir: node.folder, tty: true })).toEqual({
      code: 0,
      stdout: 'grüße\n',
      stderr: '',
    });
    expect(node.inputs('file.pull')).toEqual([{ sourcePath: '~/x' }]);
    expect(node.seen.find(({ id }) => id === 'file.pull')?.peer).toBe('maria');
  });

  it(verifies('cli.transfer.stdio', 'is no success where other bytes came than lie there'), async () => {
    const node = await FakeNode.start({ 'file.pull': pulling('a', hashOf('b')) });
    const { code, stdout, stderr } = await runCli(['pull', 'maria', 'x', '-'], { dataDir: node.folder });
    expect([code, stdout, stderr]).toEqual([1, 'a', expect.stringContaining('is not what lies there')]);
  });

  it('is no success where the file is cut', async () => {
    const node = await FakeNode.start({
      'file.pull': ({ response }: Answering) => {
        response.writeHead(200, { [HEADERS.size]: '9', trailer: HEADERS.checksum });
        response.write('half');
        setTimeout(() => response.destroy(), 20);
      },
    });
    const { code, stdout, stderr } = await runCli(['pull', 'maria', 'x', '-'], { dataDir: node.folder });
    expect([code === 0, stdout]).toEqual([false, 'half']);
    expect(stderr).toMatch(/^loopsy: /);
  });
});

describe('what a peer says of its files', () => {
  const failing = (): never => {
    throw new LoopsyError('path_denied', { message: '"x" is not allowed', hint: 'ask' });
  };

  it.each(['send maria - x', 'pull maria x -', 'ls maria x'])(
    verifies('transfers.errors.where', 'is said with its name: %s'),
    async (line) => {
      const node = await FakeNode.start({ 'file.push': failing, 'file.pull': failing, 'file.list': failing });
      const on = (machine: string) =>
        runCli(line.replace('maria', machine).split(' '), { dataDir: node.folder, stdin: 'a' });
      expect(await on('maria')).toEqual({
        code: 4,
        stdout: '',
        stderr: 'loopsy: "x" is not allowed (on maria)\n  ask\n',
      });
      expect((await on('localhost')).stderr).toBe('loopsy: "x" is not allowed\n  ask\n');
    },
  );

  it('is not what became of the way to it', async () => {
    const node = await FakeNode.start({
      'file.list': () => {
        throw new LoopsyError('peer_offline', { message: 'maria is offline' });
      },
    });
    const { code, stderr } = await runCli(['ls', 'maria'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([5, expect.stringMatching(/^loopsy: maria is offline\n/)]);
  });
});

describe('what - can not stand for', () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true });
  it.each([
    ['send maria - a x', '"-" is stdin, and stands alone'],
    ['send maria a - x', '"-" is stdin, and stands alone'],
    ['send maria x -', '"-" is stdin, and stands alone'],
    ['send maria - x/', 'has no name of its own'],
    ['send maria - x --delete', '--delete says nothing there'],
    ['send maria - x --limit 20M', '--limit says nothing there'],
    ['send maria - x --detach', '--detach says nothing there'],
    ['pull maria a b -', '"-" is stdout, and stands behind one file'],
    ['pull maria - x', '"-" is stdout, and stands behind one file'],
    ['pull maria a - --dry-run', '--dry-run says nothing there'],
  ])(verifies('cli.transfer.stdio', 'is said before the node is asked: %s'), async (line, message) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(line.split(' '), { dataDir: node.folder, stdin: 'a' });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(node.seen).toEqual([]);
  });

  it('is a terminal, or a stdin that is not there', async () => {
    const node = await FakeNode.start();
    const send = ['send', 'maria', '-', 'x'];
    expect((await runCli(send, { dataDir: node.folder })).stderr).toContain('there is no stdin');
    expect((await runCli(send, { dataDir: node.folder, stdin: terminal })).stderr).toContain('stdin is this terminal');
    const json = await runCli(['pull', 'maria', 'x', '-', '--json'], { dataDir: node.folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { name: 'invalid_request' } });
    expect(node.seen).toEqual([]);
  });
});
