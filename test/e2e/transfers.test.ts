import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, readFile, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import type { Transfer } from '../../src/protocol/transfers.ts';
import { draftsIn, hashOf, writeLarge } from '../helpers/files.ts';
import { eventsOf } from '../helpers/e2e-shapes.ts';
import { clientOf } from '../helpers/links.ts';
import { CLI, connectMachines, environment, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { verifies } from '../requirements.ts';

const run = promisify(execFile);
const LIMITS = 'rateLimits:\n  transfer: 1000\n';

let a: Machine;
let b: Machine;

beforeAll(async () => {
  [a, b] = [await Machine.create('near', { extra: LIMITS }), await Machine.create('far', { extra: LIMITS })];
  await connectMachines(a, b);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
}, 60_000);

const endOf = (stdout: string): Transfer => JSON.parse(stdout.trim().split('\n').at(-1) ?? '').transfer;

/** `diff -r`, links compared as links; empty where there is no difference. */
const differences = async (one: string, other: string): Promise<string> => {
  const { stdout } = await run('diff', ['-r', '--no-dereference', one, other]).catch(
    (error: { stdout?: string; stderr?: string }) => ({ stdout: `${error.stdout}${error.stderr}` }),
  );
  return stdout;
};

describe('a folder with odd names, links, modes and empty folders', () => {
  it(verifies('transfers.round-trip', 'goes to the other node and back, and nothing is different'), async () => {
    const tree = join(a.home, 'odd');
    const names = [
      'grüße, 東京 👋.txt',
      ' leading and trailing ',
      'it\'s "quoted" $HOME `x`',
      '-rf',
      'line\nend',
      'e\u0301',
      'é',
      '.hidden',
      'CON',
      'trailing.',
    ];
    await mkdir(join(tree, 'sub', 'deep'), { recursive: true });
    await mkdir(join(tree, 'empty', 'also empty'), { recursive: true });
    for (const [at, name] of names.entries()) await writeFile(join(tree, name), `${at} ${name}`);
    await writeFile(join(tree, 'sub', 'nothing'), '');
    await writeFile(join(tree, 'sub', 'program'), '#!/bin/sh\n');
    await chmod(join(tree, 'sub', 'program'), 0o755);
    await writeFile(join(tree, 'sub', 'private'), 'x');
    await chmod(join(tree, 'sub', 'private'), 0o400);
    await chmod(join(tree, 'sub', 'deep'), 0o700);
    await symlink('../program', join(tree, 'sub', 'deep', 'link'));
    await symlink('nowhere', join(tree, 'dangling'));
    await writeLarge(join(tree, 'sub', 'large'), 9_000_001);
    await utimes(join(tree, 'sub', 'program'), 1, 1_234_567_890.123);
    const there = await a.run(['send', 'far', 'odd', 'copy']);
    expect(there).toMatchObject({ code: 0, stderr: '' });
    expect(await differences(tree, join(b.home, 'copy'))).toBe('');
    const back = await a.run(['pull', 'far', 'copy', 'back']);
    expect(back).toMatchObject({ code: 0, stderr: '' });
    expect(await differences(tree, join(a.home, 'back'))).toBe('');
    const kept = await stat(join(a.home, 'back', 'sub', 'program'));
    expect(kept.mode & 0o777).toBe(0o755);
    expect(Math.abs(kept.mtimeMs - 1_234_567_890_123)).toBeLessThan(0.004);
    const again = await a.run(['send', 'far', 'odd/', 'copy/', '--json']);
    expect(again.code).toBe(0);
  });

  it('is compared: what is there is not sent again, what changed is', async () => {
    const tree = join(a.home, 'twice');
    await mkdir(tree);
    for (let at = 0; at < 50; at += 1) await writeFile(join(tree, `file ${at}`), `${at}`);
    await a.run(['send', 'far', 'twice', './']);
    const unchanged = endOf((await a.run(['send', 'far', 'twice', './', '--json'])).stdout);
    expect(unchanged).toMatchObject({ outcome: 'done', files: { done: 0, skipped: 50 }, bytes: { sent: 0 } });
    await writeFile(join(tree, 'file 7'), 'another');
    const changed = endOf((await a.run(['send', 'far', 'twice', './', '--json'])).stdout);
    expect(changed).toMatchObject({ files: { done: 1, skipped: 49 } });
    expect(await readFile(join(b.home, 'twice', 'file 7'), 'utf8')).toBe('another');
  });

  it('loses with --delete what the source does not have, but what is left out', async () => {
    const tree = join(a.home, 'mirror');
    await mkdir(join(tree, 'kept'), { recursive: true });
    await writeFile(join(tree, 'kept', 'one'), '1');
    await a.run(['send', 'far', 'mirror', './']);
    await mkdir(join(b.home, 'mirror', 'extra', 'deep'), { recursive: true });
    await writeFile(join(b.home, 'mirror', 'extra', 'deep', 'file'), 'x');
    await writeFile(join(b.home, 'mirror', 'kept', 'build.log'), 'x');
    await writeFile(join(b.home, 'mirror', 'kept', 'old'), 'x');
    const { code, stdout } = await a.run(['send', 'far', 'mirror', './', '--delete', '--exclude', '*.log', '--json']);
    expect(code, stdout).toBe(0);
    expect(await readdir(join(b.home, 'mirror'))).toEqual(['kept']);
    expect((await readdir(join(b.home, 'mirror', 'kept'))).toSorted()).toEqual(['build.log', 'one']);
  });
});

describe('what is in a folder', () => {
  it(verifies('transfers.folder-contents', 'is mirrored under another name, however often'), async () => {
    await mkdir(join(a.home, 'site', 'sub'), { recursive: true });
    await writeFile(join(a.home, 'site', 'sub', 'page'), 'x');
    await mkdir(join(b.home, 'www'));
    await writeFile(join(b.home, 'www', 'old'), 'x');
    const dry = await a.run(['send', 'far', '--delete', 'site/.', 'www', '--dry-run']);
    const old = join(b.home, 'www', 'old');
    expect(dry.stdout.split('\n').slice(0, -2)).toEqual([
      'send    site/sub/',
      'send    site/sub/page',
      `remove  far:${old}`,
    ]);
    expect(dry.stdout).toMatch(/\nwould send 1 file.*would remove 1\n$/);
    const first = await a.run(['send', 'far', '--delete', 'site/.', 'www']);
    expect(first.stdout + first.stderr).toContain(`far:${join(b.home, 'www')}; 1 removed`);
    expect(await readdir(join(b.home, 'www'))).toEqual(['sub']);
    const again = endOf((await a.run(['send', 'far', '--delete', 'site/.', 'www', '--json'])).stdout);
    expect(again).toMatchObject({ outcome: 'done', files: { done: 0, skipped: 1 }, removed: 0 });
    const pulled = await a.run(['pull', 'far', 'www/.', '.', '--json']);
    expect(endOf(pulled.stdout)).toMatchObject({ outcome: 'done', files: { done: 1 }, path: a.home });
  });
});

describe('a large file of which a part changed', () => {
  it(verifies('transfers.delta', 'is sent as its changed chunks alone'), async () => {
    const file = join(a.home, 'growing');
    await writeLarge(file, 40_000_000);
    await a.run(['send', 'far', file, 'growing']);
    const text = await readFile(file);
    text.write('changed', 21_000_000);
    await writeFile(file, Buffer.concat([text, Buffer.from('and more')]));
    const { stdout } = await a.run(['send', 'far', file, 'growing', '--json']);
    const { outcome, bytes, checksum } = endOf(stdout);
    expect(outcome).toBe('done');
    expect(checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(bytes.sent).toBeLessThan(2 * 4_194_304 + 1);
    expect(await hashOf(join(b.home, 'growing'))).toBe(await hashOf(file));
  });
});

describe('Ctrl-C in the middle', () => {
  it(verifies('transfers.interrupt', 'and the same command again goes on where it was'), async () => {
    const file = join(a.home, 'slow');
    await writeLarge(file, 60_000_000);
    const args = ['send', 'far', 'slow', 'slow', '--limit', '30M'];
    const child = a.spawn(args);
    await until(async () => (await draftsIn(b.home)).length > 0, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    child.kill('SIGINT');
    const [code] = await once(child, 'close');
    expect(code).toBe(130);
    expect(await readdir(b.home)).not.toContain('slow');
    const { stdout } = await a.run(['send', 'far', 'slow', 'slow', '--json']);
    const { outcome, bytes } = endOf(stdout);
    expect(outcome).toBe('done');
    expect(bytes.sent).toBeLessThan(50_000_000);
    expect(await hashOf(join(b.home, 'slow'))).toBe(await hashOf(file));
    expect(await draftsIn(b.home)).toEqual([]);
  });
});

describe('a source that changes while it is read', () => {
  it(
    verifies('transfers.changed', 'is said for that file; the old one stays, no draft, and the others arrive'),
    async () => {
      const tree = join(a.home, 'changing');
      await mkdir(tree);
      await writeFile(join(tree, 'small'), 'small');
      await writeLarge(join(tree, 'large'), 30_000_000);
      await mkdir(join(b.home, 'changing'));
      await writeFile(join(b.home, 'changing', 'large'), 'old');
      const sending = a.run(['send', 'far', 'changing', './', '--limit', '15M']);
      await until(async () => (await draftsIn(b.home)).length > 0, 10_000);
      await appendFile(join(tree, 'large'), 'more');
      const { code, stderr } = await sending;
      expect(code).toBe(1);
      expect(stderr).toContain('changed while it was read');
      expect(await readFile(join(b.home, 'changing', 'large'), 'utf8')).toBe('old');
      expect(await readFile(join(b.home, 'changing', 'small'), 'utf8')).toBe('small');
      expect(await draftsIn(b.home)).toEqual([]);
    },
  );
});

describe('a folder that is denied while its bytes flow', () => {
  it.each(['send', 'pull'])(
    verifies('transfers.denied-midway', 'ends its transfer at once, and nothing of it is left: %s'),
    async (command) => {
      const source = command === 'send' ? a : b;
      await mkdir(join(a.home, 'flow'), { recursive: true });
      await mkdir(join(b.home, 'flow'), { recursive: true });
      await writeLarge(join(source.home, 'flow', 'large'), 40_000_000);
      const sending = a.run([
        command,
        'far',
        'flow/large',
        command === 'send' ? 'flow/' : './',
        '--limit',
        '10M',
        '--json',
      ]);
      await until(async () => (await draftsIn(command === 'send' ? b.home : a.home)).length > 0, 10_000);
      const denied = "\ntransfer:\n  deniedPaths: ['~/flow']";
      await b.edit('version: 2', `version: 2${denied}`);
      const { code, stdout } = await sending;
      await b.edit(denied, '');
      await until(async () => (await a.run(['ls', 'far', 'flow'])).code === 0, 10_000);
      expect(code).toBe(1);
      const { failures, bytes } = endOf(stdout);
      expect(failures).toMatchObject([{ error: 'path_denied' }]);
      expect(bytes.sent).toBeLessThan(30_000_000);
      expect([await draftsIn(b.home), await draftsIn(a.home)]).toEqual([[], []]);
    },
  );
});

describe('a full disk', () => {
  it(
    verifies('transfers.full-disk', 'is said on both ends; the old file stays, no draft, and the node goes on'),
    async ({ skip }) => {
      const disk = await mountSmallDisk(8192);
      if (disk === undefined) return skip('only root may mount a small disk');
      await b.edit('version: 2', `version: 2\ntransfer:\n  allowedPaths: ['~', '${disk.folder}']`);
      await writeFile(join(disk.folder, 'old'), 'old');
      await writeFile(join(disk.folder, 'small'), 'small');
      const file = join(a.home, 'too large');
      await writeLarge(file, 20_000_000);
      await until(async () => (await a.run(['ls', 'far', disk.folder])).code === 0, 5000);
      const sent = await a.run(['send', 'far', file, join(disk.folder, 'old')]);
      expect(sent.code).toBe(1);
      expect(sent.stderr).toContain('does not fit');
      expect(await readFile(join(disk.folder, 'old'), 'utf8')).toBe('old');
      expect(await draftsIn(disk.folder)).toEqual([]);
      await rm(file);
      const received = await b.json<{ transfers: Transfer[] }>(['transfers', 'list', '--all']);
      const end = { role: 'target', outcome: 'failed', error: 'disk_full', path: join(disk.folder, 'old') };
      expect(received.transfers[0]).toMatchObject({ ...end, files: { failed: 1 } });
      const { stdout } = await b.run(['transfers', 'show', received.transfers[0]?.transferId ?? '']);
      expect(stdout).toMatch(/^error +.*does not fit/m);
      const events = b.spawn(['events', '--json']);
      let told = '';
      events.stdout?.setEncoding('utf8').on('data', (text: string) => (told += text));
      await disk.fill();
      // A follower hears of what happens after it has come.
      await until(async () => {
        const piped = await a.run(['send', 'far', '-', join(disk.folder, 'piped')], 'x'.repeat(100_000));
        expect(piped.code).toBe(1);
        return told.includes('file.failed');
      }, 20_000);
      const path = join(disk.folder, 'piped');
      expect(eventsOf('event.follow', told)).toContainEqual(
        expect.objectContaining({ type: 'file.failed', file: expect.objectContaining({ path, error: 'disk_full' }) }),
      );
      await mkdir(join(a.home, 'many'));
      for (const name of ['one', 'two']) await writeFile(join(a.home, 'many', name), name);
      expect((await a.run(['send', 'far', 'many', join(disk.folder, 'many')])).code).toBe(1);
      await until(async () => told.includes('transfer.ended'), 5000);
      events.kill('SIGINT');
      expect(eventsOf('event.follow', told)).toContainEqual(
        expect.objectContaining({ type: 'transfer.ended', transfer: expect.objectContaining({ error: 'disk_full' }) }),
      );
      expect(await readFile(b.path('logs', 'node.log'), 'utf8')).toContain('a disk is full');
      expect((await b.run(['status'])).code).toBe(0);
    },
  );
});

describe('what other nodes read and write here', () => {
  it(verifies('transfers.seen', 'is seen by the owner: from whom, what, how much'), async () => {
    await writeFile(join(a.home, 'note'), 'a note');
    await a.run(['send', 'far', 'note', './']);
    const { transfers } = await b.json<{ transfers: Transfer[] }>(['transfers', 'list', '--all']);
    expect(transfers[0]).toMatchObject({
      role: 'target',
      outcome: 'done',
      from: { name: 'near' },
      dest: './',
      sources: ['note'],
      files: { done: 1 },
    });
    await a.run(['ls', 'far', '~']);
    await b.run(['logs']);
    const audit = await readFile(b.path('logs', 'audit.jsonl'), 'utf8');
    expect(audit).toContain('"operation":"target.open"');
    expect(audit).toContain('"input.path":"~"');
  });
});

describe('one file that comes or goes by itself', () => {
  /** The last line about an operation in a machine's audit log. */
  const lineOf = async (machine: typeof b, operation: string): Promise<Record<string, unknown>> => {
    // Asked for anew, the log is on disk.
    await machine.run(['logs']);
    const lines = (await readFile(machine.path('logs', 'audit.jsonl'), 'utf8')).trimEnd().split('\n');
    const line = lines.findLast((text) => text.includes(`"operation":"${operation}"`));
    return JSON.parse(line ?? '{}') as Record<string, unknown>;
  };

  it(
    verifies('transfers.seen', 'is in the audit log: where it lies, how large it is, and what was in it'),
    async () => {
      const checksum = createHash('sha256').update('streamed').digest('hex');
      expect((await a.run(['send', 'far', '-', 'came'], 'streamed')).code).toBe(0);
      expect(await lineOf(b, 'file.push')).toMatchObject({ decision: 'allowed', destPath: 'came', size: 8, checksum });
      expect((await a.run(['send', 'far', '-', '/etc/came'], 'streamed')).code).not.toBe(0);
      expect(await lineOf(b, 'file.push')).toMatchObject({ decision: 'path_denied', destPath: '/etc/came' });
      expect((await a.run(['pull', 'far', 'came', '-'])).stdout).toBe('streamed');
      expect(await lineOf(b, 'file.pull')).toMatchObject({ decision: 'allowed', sourcePath: 'came', size: 8 });
    },
  );
});

describe('a stdin that holds nothing', () => {
  it(
    verifies('cli.transfer.stdio', 'is an empty file where it is the null device, and none where it is closed'),
    async () => {
      // Without an input, a command of these machines has the null device.
      expect(await a.run(['send', 'far', '-', 'nothing'])).toMatchObject({ code: 0, stderr: '' });
      expect((await stat(join(b.home, 'nothing'))).size).toBe(0);
      const words = ['-c', 'exec "$@" <&-', 'sh', process.execPath, CLI, 'send', 'far', '-', 'closed'];
      await expect(run('sh', words, { env: environment(a.home), cwd: a.home })).rejects.toMatchObject({
        code: 2,
        stderr: expect.stringContaining('there is no stdin'),
      });
      expect(await readdir(b.home)).not.toContain('closed');
    },
  );
});

describe('what happens to files', () => {
  it(verifies(['transfers.seen', 'events.cli'], 'is told on both ends while it happens'), async () => {
    const followers = [a, b].map((machine) => machine.spawn(['events', '--json']));
    const told = followers.map((child) => {
      const lines: string[] = [];
      child.stdout?.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trimEnd().split('\n')));
      return lines;
    });
    const isTold = (): boolean => told.every((lines) => lines.some((line) => line.includes('transfer.ended')));
    // A follower hears of what happens after it has come.
    await until(async () => {
      await writeFile(join(a.home, 'told'), String(Math.random()));
      return (await a.run(['send', '--quiet', 'far', 'told', './'])).code === 0 && isTold();
    }, 20_000);
    await b.run(['restart']);
    const before = told[1]?.length ?? 0;
    await until(async () => {
      await writeFile(join(a.home, 'told'), String(Math.random()));
      return (await a.run(['send', '--quiet', 'far', 'told', './'])).code === 0 && (told[1]?.length ?? 0) > before + 1;
    }, 20_000);
    await until(async () => told.every((lines) => lines.at(-1)?.includes('transfer.ended') === true), 5000);
    for (const child of followers) child.kill('SIGINT');
    const events = told.map((lines) => lines.flatMap((line) => eventsOf('event.follow', line)));
    expect(events[0]?.at(-1)).toMatchObject({ type: 'transfer.ended', transfer: { role: 'mover', outcome: 'done' } });
    expect(events[1]?.at(-1)).toMatchObject({
      type: 'transfer.ended',
      transfer: { role: 'target', from: { name: 'near' }, source: 'told', files: { done: 1 } },
    });
    expect((await b.run(['transfers', 'list', '--peer', 'near'])).code).toBe(0);
  });
});

describe('one that is detached', () => {
  afterEach(async () => {
    if ((await a.run(['status'])).code !== 0) await a.start();
  });

  it(verifies('transfers.detached', 'outlives its command and its node'), { timeout: 60_000 }, async () => {
    const file = join(a.home, 'detached');
    await writeLarge(file, 40_000_000);
    const { stdout, code } = await a.run(['send', 'far', 'detached', 'detached', '--limit', '20M', '--detach']);
    expect(code).toBe(0);
    const id = stdout.trim();
    await until(async () => (await draftsIn(b.home)).length > 0, 10_000);
    await a.run(['stop']);
    expect(await readdir(b.home)).not.toContain('detached');
    await a.start();
    const client = await clientOf(a);
    await until(async () => (await client.call('transfer.get', { transferId: id })).state === 'ended', 20_000);
    expect(await client.call('transfer.get', { transferId: id })).toMatchObject({ outcome: 'done', detached: true });
    expect(await hashOf(join(b.home, 'detached'))).toBe(await hashOf(file));
  });
});
