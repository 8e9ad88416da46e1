import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { parseCommandLine } from '../../../src/cli/parse.ts';
import { endsOfCp, endsOfPull, endsOfSend } from '../../../src/cli/transfer-input.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { transferEventSchema, type Transfer } from '../../../src/protocol/transfers.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { endless, FakeNode, MOVED, moving, TRANSFER, TRANSFER_ID, transferEvents } from '../fake-node.ts';
import { runCli, type RunOptions } from '../run-cli.ts';

const CWD = '/srv/kai/here';
const SEND = ['send', 'maria', 'x', 'inbox/'];

/** What the node is asked for by each of some lines. */
const asked = async (lines: readonly (readonly string[])[], options: Partial<RunOptions> = {}): Promise<object[]> => {
  const node = await FakeNode.start();
  for (const line of lines) {
    const { code, stderr } = await runCli(line, { dataDir: node.folder, cwd: CWD, ...options });
    expect([code, stderr]).toEqual([0, '']);
  }
  return node.inputs('transfer.run');
};

const refused = async (line: readonly string[], options: Partial<RunOptions> = {}): Promise<string> => {
  const node = await FakeNode.start();
  const { code, stderr, stdout } = await runCli(line, { dataDir: node.folder, cwd: CWD, ...options });
  expect([code, stdout]).toEqual([2, '']);
  expect(node.seen.filter(({ id }) => id !== 'system.health')).toEqual([]);
  return stderr;
};

describe('send, pull and cp', () => {
  it(
    verifies('cli.send', 'send names its files as this machine knows them, and the rest as it was typed'),
    async () => {
      const inputs = await asked([
        ['send', 'maria', 'a.txt', '../b/', '~/c', 'inbox/'],
        ['send', 'localhost', '/a', '~/b'],
        ['send', 'maria', '--', '-odd', 'x'],
      ]);
      expect(inputs).toEqual([
        { to: 'maria', sources: ['/srv/kai/here/a.txt', '/srv/kai/b/', '~/c'], dest: 'inbox/' },
        { sources: ['/a'], dest: '~/b' },
        { to: 'maria', sources: ['/srv/kai/here/-odd'], dest: 'x' },
      ]);
    },
  );

  it(
    verifies('cli.pull', 'pull leaves names and patterns to the peer, and writes below the current folder'),
    async () => {
      const inputs = await asked([
        ['pull', 'maria', 'a.txt', 'logs/*.log', '.'],
        ['pull', 'maria', '~/a', 'b'],
      ]);
      expect(inputs).toEqual([
        { from: 'maria', sources: ['a.txt', 'logs/*.log'], dest: '/srv/kai/here/' },
        { from: 'maria', sources: ['~/a'], dest: '/srv/kai/here/b' },
      ]);
    },
  );

  it(
    verifies('transfers.dry-run', 'a dry run says each thing on a line of its own, and then how much it is'),
    async () => {
      const node = await FakeNode.start({
        'transfer.run': (answering) => {
          const { send, end } = transferEvents(answering);
          const { to: from, from: to } = TRANSFER;
          send('started', { ...TRANSFER, dryRun: true }, [
            { action: 'send', path: 'site/new/' },
            { action: 'replace', path: 'site/\u001b[31mold' },
          ]);
          send('progress', { ...TRANSFER, dryRun: true }, [{ action: 'remove', path: 'site/gone' }]);
          const path = '/home/maria/inbox';
          send('progress', { ...TRANSFER, dryRun: true, path }, [{ action: 'remove', path: 'site/gone/' }]);
          send('progress', { ...TRANSFER, from, to, dryRun: true }, [{ action: 'send', path: 'to us' }]);
          send('end', { ...MOVED, dryRun: true });
          end();
        },
      });
      const run = (...more: string[]) =>
        runCli(['send', 'maria', 'site', 'x', '--dry-run', ...more], { dataDir: node.folder });
      const { stdout, stderr } = await run();
      expect(stdout.split('\n').slice(0, 5)).toEqual([
        'send    site/new/',
        expect.stringMatching(/^replace site\/[^\u001b]*old$/),
        'remove  maria:inbox/site/gone',
        'remove  maria:/home/maria/inbox/gone/',
        'pull    to us',
      ]);
      expect([stdout, stderr]).toEqual([expect.stringMatching(/\nwould send .*\n$/), '']);
      expect((await run('--quiet')).stdout).toBe('');
      const lines = (await run('--json')).stdout.trimEnd().split('\n');
      expect(lines.map((line) => JSON.parse(line).items?.length)).toEqual([2, 1, 1, 1, undefined]);
    },
  );

  it(verifies('cli.cp', 'cp takes places of any two machines'), async () => {
    const inputs = await asked([
      ['cp', 'maria:a', 'maria:/b', 'c/'],
      ['cp', 'a', 'kai:'],
      ['cp', 'kai:', 'maria:backup'],
      ['cp', 'a', 'localhost:b'],
    ]);
    expect(inputs).toEqual([
      { from: 'maria', sources: ['a', '/b'], dest: '/srv/kai/here/c/' },
      { to: 'kai', sources: ['/srv/kai/here/a'], dest: '~/' },
      { from: 'kai', to: 'maria', sources: ['~'], dest: 'backup' },
      { sources: ['/srv/kai/here/a'], dest: 'b' },
    ]);
    expect(await refused(['cp', 'kai:a', 'b', 'maria:c'])).toMatch(
      /sources are on kai and this machine\n.*one machine/,
    );
  });

  it(verifies('cli.transfer.paths', 'on Windows, drives are no peers'), () => {
    const io = { cwd: 'C:\\Users\\kai', platform: 'win32' } as const;
    const read = (...line: string[]) => ({ invocation: parseCommandLine(line), io });
    expect(endsOfCp(read('cp', 'C:\\x', 'd:/y', 'maria:z'))).toEqual({
      to: 'maria',
      sources: ['C:\\x', 'd:\\y'],
      dest: 'z',
    });
    expect(endsOfPull(read('pull', 'maria', 'a', '.'))).toEqual({
      from: 'maria',
      sources: ['a'],
      dest: 'C:\\Users\\kai/',
    });
    expect(endsOfSend(read('send', 'maria', '/d/x', 'y\\'))).toEqual({ to: 'maria', sources: ['D:\\x'], dest: 'y\\' });
  });

  it(
    verifies('cli.transfer.options', 'say with options what is compared, left behind, removed and limited'),
    async () => {
      const folder = await tempFolder();
      const patterns = join(folder, 'patterns');
      await writeFile(patterns, '\uFEFF# of the team\n*.tmp\r\n\n!keep.tmp\n');
      const inputs = await asked([
        [...SEND, '--dry-run', '--checksum', '--gitignore', '--delete', '--update', '--no-clobber', '--quiet'],
        [...SEND, '--exclude', '*.o', `--exclude-from=${patterns}`, '--exclude', 'build/'],
        ...['20M', '20MB/s', '1.5Ki', '1Gi', '2048', '1k'].map((limit) => [...SEND, '--limit', limit]),
      ]);
      const ends = { to: 'maria', sources: ['/srv/kai/here/x'], dest: 'inbox/' };
      const on = { dryRun: true, checksum: true, gitignore: true, delete: true, update: true, noClobber: true };
      expect(inputs).toEqual([
        { ...ends, ...on },
        { ...ends, exclude: ['*.tmp', '!keep.tmp', '*.o', 'build/'] },
        ...[20_000_000, 20_000_000, 1536, 1_073_741_824, 2048, 1000].map((limit) => ({ ...ends, limit })),
      ]);
    },
  );

  it.each([
    [['send', 'maria', 'x'], 'needs <dest>'],
    [['send', 'maria', '', 'x'], 'one of the paths is empty'],
    [['send', 'maria', 'x', ''], 'one of the paths is empty'],
    [['pull', 'maria', 'x', ''], 'one of the paths is empty'],
    [[...SEND, '--limit', 'fast'], 'is no number of bytes for --limit'],
    [[...SEND, '--limit', '999'], 'a limit is 1000 bytes a second, or more'],
    [[...SEND, '--exclude-from', 'nowhere'], '--exclude-from nowhere can not be read'],
    [[...SEND, '--exclude', ''], 'a pattern of --exclude is empty'],
    [[...SEND, '--dry-run', '--detach'], 'leave --detach out to see what would be done'],
    [['cp', '-', 'kai:x'], 'cp knows no stdin and no stdout'],
  ])('refuse what makes no sense before the node is asked: %j', async (line, message) => {
    expect(await refused(line)).toContain(message);
  });
});

describe('the end of a transfer', () => {
  const ending = async (transfer: Partial<Transfer>, line = SEND) => {
    const node = await FakeNode.start({ 'transfer.run': moving({ ...MOVED, ...transfer }) });
    return runCli(line, { dataDir: node.folder, cwd: CWD });
  };

  const missing = (message: string): Partial<Transfer> => ({
    failures: [{ path: 'x', error: 'path_denied', message }],
    files: { found: 0, done: 0, skipped: 0, failed: 1 },
  });
  const swap = { from: MOVED.to, to: MOVED.from };
  const none = { found: 0, done: 0, skipped: 0, failed: 0 };
  it.each<[Partial<Transfer>, string]>([
    [{}, '3 files, 12 MB in 1.4 s (8.6 MB/s) to maria:inbox/; 5 were there already'],
    [
      { files: { found: 1, done: 1, skipped: 0, failed: 0 }, path: '/home/maria/x\u202E', checksum: 'c'.repeat(64) },
      '1 file, 12 MB in 1.4 s (8.6 MB/s) to maria:/home/maria/x\\u{202e}',
    ],
    [
      {
        ...swap,
        files: { found: 2, done: 2, skipped: 0, failed: 0 },
        dest: '/srv/kai/in',
        removed: 2,
        duration: 90_500,
      },
      '2 files, 12 MB in 1 min 30 s (133 kB/s) from maria to inbox/; 2 removed',
    ],
    [{ files: { found: 1, done: 0, skipped: 1, failed: 0 } }, '1 file was there already: maria:inbox/'],
    [
      { files: { found: 1, done: 0, skipped: 1, failed: 0 }, leaves: 'existing' },
      '1 file was there already, and left alone: maria:inbox/',
    ],
    [
      { files: { found: 2, done: 0, skipped: 2, failed: 0 }, leaves: 'newer', dryRun: true },
      '2 files are there already, as new or newer: maria:inbox/',
    ],
    [{ files: none, folders: 0 }, 'there was nothing to send'],
    [
      { files: none, folders: 2, links: 1, bytes: { found: 0, sent: 0, done: 0 } },
      '2 folders and 1 link, 0 B in 1.4 s to maria:inbox/',
    ],
    [
      { bytes: { found: 3_001_000, sent: 3500, done: 3_001_000, skipped: 3_000_000 } },
      '3 files, 1.0 kB in 1.4 s (714 B/s) to maria:inbox/; 5 were there already',
    ],
    [{ bytes: { found: 5, sent: 10, done: 5 } }, '3 files, 5 B in 1.4 s (4 B/s) to maria:inbox/; 5 were there already'],
    [{ files: none, folders: 0, drafts: 1 }, 'there was nothing to send; 1 draft of loopsy left behind'],
    [{ dryRun: true, removed: 2 }, 'would send 3 files to maria:inbox/; 5 are there already; would remove 2'],
    [{ ...swap, dryRun: true }, 'would pull 3 files from maria to inbox/; 5 are there already'],
    [
      { dryRun: true, files: { found: 3, done: 3, skipped: 0, failed: 0 } },
      'would send 3 files, 20 MB, to maria:inbox/',
    ],
    [{ dryRun: true, files: none, folders: 0 }, 'would send nothing'],
  ])(verifies('cli.transfer.summary', 'is told in one line: %j → %s'), async (transfer, summary) => {
    expect(await ending(transfer)).toEqual({ code: 0, stdout: `${summary}\n`, stderr: '' });
    expect(await ending(transfer, [...SEND, '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it(verifies('cli.transfer.failures', 'names what did not arrive, and exits with 1'), async () => {
    const failures = [
      { path: 'x/a\u001B', error: 'name_unusable', message: 'a colon\n' },
      { path: 'x/b', error: 'source_changed', message: 'it changed', at: 'source' as const },
    ];
    const files = { found: 30, done: 27, skipped: 0, failed: 3 };
    expect(await ending({ outcome: 'failed', failures, files, folders: 1 })).toEqual({
      code: 1,
      stdout: '27 files, 12 MB in 1.4 s (8.6 MB/s) to maria:inbox/\n',
      stderr:
        'x/a\\u{1b}: a colon\\u{a}\n  rename it, or leave it out with --exclude\nx/b: it changed (on this machine)\n  run the same command again when nothing writes to it\nand 1 more\nloopsy: 3 of 30 files did not arrive\n',
    });
    const alike = ['a', 'b'].map((path) => ({
      path,
      error: 'path_denied',
      message: 'no',
      hint: 'ask',
      at: 'target' as const,
    }));
    expect((await ending({ outcome: 'failed', failures: alike, files: { ...files, failed: 2 } })).stderr).toBe(
      'a: no (on maria)\nb: no (on maria)\n  ask\nloopsy: 2 of 30 files did not arrive\n',
    );
    const none = { found: 0, done: 0, skipped: 0, failed: 1 };
    expect(await ending({ failures: failures.slice(1), files: none, folders: 0 }, [...SEND, '--quiet'])).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'x/b: it changed (on this machine)\n  run the same command again when nothing writes to it\nloopsy: 1 file did not arrive\n',
    });
  });

  it.each<[Partial<Transfer>, number, string]>([
    [
      { outcome: 'failed', error: 'disk_full', message: 'no room', hint: 'make some' },
      1,
      'loopsy: no room\n  make some\n',
    ],
    [{ outcome: 'failed', error: 'path_denied' }, 4, 'loopsy: this path is not allowed\n'],
    [{ outcome: 'failed', error: 'peer_offline' }, 5, 'loopsy: the peer is offline\n'],
    [{ outcome: 'failed', error: 'of_a_newer_node', message: 'new' }, 1, 'loopsy: new\n'],
    [
      { outcome: 'cancelled', error: 'transfer_cancelled' },
      1,
      'loopsy: the transfer was cancelled\n  run the same command',
    ],
    [{ outcome: 'failed', error: 'path_denied', message: 'not here', ...missing('not here') }, 4, 'loopsy: not here\n'],
    [
      { outcome: 'failed', error: 'disk_full', message: 'no room', at: 'target', ...missing('not here') },
      1,
      'x: not here\nloopsy: 1 file did not arrive\nloopsy: no room (on maria)\n',
    ],
    [{ outcome: 'lost' }, 5, 'loopsy: the node that moved the files left in the middle\n  run the same command again'],
  ])(verifies('cli.transfer.failures', 'says why the whole of it ended: %j → %d'), async (transfer, exit, message) => {
    const { code, stdout, stderr } = await ending(transfer);
    expect([code, stdout]).toEqual([exit, '']);
    expect(stderr.startsWith(message)).toBe(true);
    const json = await ending(transfer, [...SEND, '--json']);
    expect([json.code, json.stderr, json.stdout.split('\n').length]).toEqual([exit, '', 3]);
  });

  it(verifies('cli.transfer.json', 'is one line of JSON an event, and nothing else'), async () => {
    const failures = [{ path: 'x', error: 'disk_full', message: 'full' }];
    const node = await FakeNode.start({ 'transfer.run': moving({ ...MOVED, failures }) });
    const { code, stdout, stderr } = await runCli([...SEND, '--json'], { dataDir: node.folder, tty: true });
    expect([code, stderr]).toEqual([1, '']);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => transferEventSchema.parse(JSON.parse(line)));
    expect(events).toEqual([
      { type: 'started', transfer: TRANSFER },
      { type: 'end', transfer: { ...MOVED, failures } },
    ]);
  });

  it('is an error where it is refused at once, in words and as JSON', async () => {
    const node = await FakeNode.start({
      'transfer.run': () => {
        throw new LoopsyError('path_denied', { message: 'no', hint: 'change it' });
      },
    });
    expect(await runCli(SEND, { dataDir: node.folder })).toEqual({
      code: 4,
      stdout: '',
      stderr: 'loopsy: no\n  change it\n',
    });
    const json = await runCli([...SEND, '--json'], { dataDir: node.folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { name: 'path_denied' } });
  });
});

describe('a transfer that does not come to its end', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)(
    verifies('cli.transfer.interrupt', '%s ends it, takes the line off the terminal and says how to go on: %d'),
    async (name, code) => {
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => (end = resolve));
      const node = await FakeNode.start({
        'transfer.run': (answering) => {
          answering.response.on('close', end);
          return endless(answering);
        },
      });
      const left = await runCli(SEND, {
        dataDir: node.folder,
        tty: true,
        onReady: (signal, _, errors) =>
          void (async () => {
            while (!errors().includes('100%')) await setImmediate();
            signal(name);
          })(),
      });
      expect([left.code, left.stdout]).toEqual([code, '']);
      expect(left.stderr).toMatch(/\r\u001B\[Kloopsy: stopped; run the same command again: it goes on where it was\n$/);
      await ended;
    },
  );

  it(verifies('cli.transfer.resume', 'is taken up again where its stream is cut, and the node lives'), async () => {
    const node = await FakeNode.start({
      'transfer.run': async (answering) => {
        const { send, cut } = transferEvents(answering);
        send('started', TRANSFER);
        await setImmediate();
        setTimeout(cut, 20);
      },
    });
    const { code, stdout } = await runCli(SEND, { dataDir: node.folder });
    expect([code, stdout]).toEqual([0, expect.stringContaining('3 files, 12 MB')]);
    expect(node.inputs('transfer.follow')).toEqual([{ transferId: TRANSFER_ID }]);
    expect(node.inputs('transfer.run')).toHaveLength(1);
  });

  it('is over where the node is gone, and the same command goes on', async () => {
    const node = await FakeNode.start();
    node.on('transfer.run', async (answering) => {
      transferEvents(answering).send('started', TRANSFER);
      await setImmediate();
      setTimeout(() => node.close(), 20);
    });
    const { code, stderr } = await runCli(SEND, { dataDir: node.folder });
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^loopsy: the node stopped or crashed in the middle.*\n.*`loopsy start`.*run the same command/,
    );
  });

  it('is an unknown one where the stream just ends', async () => {
    const node = await FakeNode.start({
      'transfer.run': (answering) => {
        const { send, end } = transferEvents(answering);
        send('started', TRANSFER);
        end();
      },
    });
    const { code, stderr } = await runCli(SEND, { dataDir: node.folder });
    expect([code, stderr]).toEqual([5, expect.stringContaining('the stream ended before the transfer did')]);
  });
});
