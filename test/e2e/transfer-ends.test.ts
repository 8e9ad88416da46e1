import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Transfer } from '../../src/protocol/transfers.ts';
import { draftsIn, writeLarge } from '../helpers/files.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const LIMITS = 'rateLimits:\n  transfer: 1000\ntransfer:\n  maxFileSize: 3000000\n';
const MOST = 3_000_000;

let a: Machine;
let b: Machine;

beforeAll(async () => {
  [a, b] = [
    await Machine.create('near', { extra: 'rateLimits:\n  transfer: 1000\n' }),
    await Machine.create('far', { extra: LIMITS }),
  ];
  await connectMachines(a, b);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
}, 60_000);

const endOf = (stdout: string): Transfer => JSON.parse(stdout.trim().split('\n').at(-1) ?? '').transfer;

describe('a transfer that the receiver’s owner cancels', () => {
  it(
    verifies(
      'transfers.refused',
      'is over for its sender, who is told why; it does not begin again, and nothing of it stays',
    ),
    async () => {
      await writeLarge(join(a.home, 'unwanted'), 2_900_000);
      const sending = a.run(['send', 'far', 'unwanted', './', '--limit', '1M', '--json']);
      const list = async (): Promise<Transfer[]> =>
        (await b.json<{ transfers: Transfer[] }>(['transfers', 'list'])).transfers;
      await until(async () => (await list()).length > 0, 10_000);
      const [incoming] = await list();
      const cancelled = await b.run(['transfers', 'cancel', incoming?.transferId ?? '']);
      expect([cancelled.code, cancelled.stdout]).toEqual([0, expect.stringContaining('the others are gone')]);
      const { code, stdout } = await sending;
      expect(code).toBe(1);
      const hint = expect.stringContaining('nothing was kept');
      expect(endOf(stdout)).toMatchObject({ outcome: 'cancelled', error: 'transfer_cancelled', at: 'target', hint });
      expect(await list()).toEqual([]);
      expect(await readdir(b.home)).not.toContain('unwanted');
      expect(await draftsIn(b.home)).toEqual([]);
    },
  );
});

describe('a machine that takes no more transfers for a while', () => {
  it(
    verifies('cli.transfer.rate', 'is said to do so, and waited for, whatever is sent'),
    { timeout: 60_000 },
    async () => {
      const [from, to] = [
        await Machine.create('hasty'),
        await Machine.create('calm', { extra: 'rateLimits:\n  transfer: 12\n' }),
      ];
      try {
        await connectMachines(from, to);
        await writeFile(join(from.home, 'note'), 'x');
        const send = (): Promise<{ code: number | null; stderr: string }> => from.run(['send', 'calm', 'note', 'note']);
        let sent = await send();
        for (let count = 0; count < 14 && sent.stderr === ''; count += 1) sent = await send();
        expect(sent).toMatchObject({
          code: 0,
          stderr: expect.stringMatching(/^loopsy: waiting: more than 12 .*\(on calm\)\n$/),
        });
        const bytes = 'x'.repeat(1_000_000);
        let piped = await from.run(['send', 'calm', '-', 'piped'], bytes);
        for (let count = 0; count < 3 && piped.stderr === ''; count += 1)
          piped = await from.run(['send', 'calm', '-', 'piped'], bytes);
        expect(piped).toMatchObject({ code: 0, stderr: expect.stringMatching(/too many requests: waiting \d+ s/) });
        expect(await readFile(join(to.home, 'piped'), 'utf8')).toBe(bytes);
      } finally {
        await from.remove();
        await to.remove();
      }
    },
  );
});

describe('a transfer under way', () => {
  /** What is said of one when this has been done in its middle. */
  const saidAfter = async (what: () => Promise<unknown>): Promise<{ code: number | null; stderr: string }> => {
    const sending = a.run(['send', 'far', 'under-way', './', '--limit', '200K']);
    const isSeen = async (): Promise<boolean> =>
      (await b.json<{ transfers: Transfer[] }>(['transfers', 'list'])).transfers.some(({ bytes }) => bytes.sent > 0);
    await until(isSeen, 10_000);
    await what();
    return sending;
  };

  it('fails with the reason where it may not go on, and where its own node stops; nobody is waited for', async () => {
    await writeLarge(join(a.home, 'under-way'), 2_900_000);
    const narrowed = await saidAfter(() => b.run(['peers', 'grant', 'near', 'observe']));
    await b.run(['peers', 'grant', 'near', 'full']);
    // Said by the request that was under way and is ended, or by the next one.
    const reason = /far: (the caller is not allowed to do this|your machine has no scope "files:write")/;
    expect(narrowed).toMatchObject({ code: 4, stderr: expect.stringMatching(reason) });
    const stopped = await saidAfter(() => a.run(['stop']));
    expect(stopped).toMatchObject({ code: 3, stderr: expect.stringMatching(/the node (stopped|is stopping)/) });
    for (const { stderr } of [narrowed, stopped]) expect(stderr).not.toContain('waiting');
    await a.start();
    expect((await a.run(['send', 'far', 'under-way', './'])).code).toBe(0);
  });
});

describe('a target that is off', () => {
  it(
    verifies('transfers.away', 'is waited for, which command and list say; what was sent arrives when it is back'),
    { timeout: 60_000 },
    async () => {
      await writeFile(join(a.home, 'later'), 'x');
      await b.run(['stop']);
      const sending = a.run(['send', 'far', 'later', 'later']);
      const list = async (): Promise<Transfer[]> =>
        (await a.json<{ transfers: Transfer[] }>(['transfers', 'list'])).transfers;
      await until(async () => (await list())[0]?.state === 'waiting', 20_000);
      await b.start();
      expect(await sending).toMatchObject({ code: 0, stderr: expect.stringMatching(/^loopsy: waiting for far …/) });
      expect(await readFile(join(b.home, 'later'), 'utf8')).toBe('x');
    },
  );
});

describe('an error', () => {
  it(
    verifies('transfers.errors.where', 'says on which machine, by the path that was given, and what to do next'),
    async () => {
      await writeFile(join(a.home, 'note'), 'x');
      await symlink('/etc', join(a.home, 'to-etc'));
      await mkdir(join(a.home, 'odd'), { recursive: true });
      await promisify(execFile)('mkfifo', [join(a.home, 'odd', 'pipe')]);
      await symlink('/etc', join(a.home, 'odd', 'out'));
      await writeFile(join(a.home, 'odd', '.loopsy-0123'), 'x');
      await writeLarge(join(b.home, 'big'), MOST + 1);
      await mkdir(join(b.home, 'a folder'), { recursive: true });
      const said = async (args: string[], input?: string): Promise<string> => {
        const { code, stderr } = await a.run(args, input);
        expect(code, stderr).not.toBe(0);
        return stderr;
      };
      const config = 'transfer.allowedPaths in its config.yaml';
      const outside = await said(['send', 'far', '/etc/hostname', 'h']);
      expect(outside).toContain('"/etc/hostname" is outside transfer.allowedPaths (on this machine)');
      expect(outside).toContain(config);
      const there = await said(['send', 'far', 'note', '/etc/x']);
      expect(there).toContain('"/etc/x" is outside transfer.allowedPaths (on far)');
      expect(there).toContain(config);
      expect(await said(['send', 'far', 'to-etc', 'x'])).toContain(
        'leads by a link outside transfer.allowedPaths (on this',
      );
      expect(await said(['send', 'far', 'nowhere', 'x'])).toMatch(/is not there \(on this machine\)\n$/);
      expect(await said(['pull', 'far', 'big', './'])).toContain(`"big" has ${MOST + 1} bytes`);
      const odd = await said(['send', 'far', 'odd', 'odd']);
      expect(odd).toContain(
        '"odd/pipe" is neither a file nor a folder nor a link (on this machine)\n  only those can be sent',
      );
      expect(odd).toContain(
        '"odd/out" is a link that leads out of the tree (to "/etc") (on this machine)\n  name what',
      );
      expect(odd).not.toContain('rename it');
      expect(await said(['send', 'far', '-', 'a folder'], 'x')).toMatch(
        /"a folder" is a folder \(on far\)\n.*which file in it/,
      );
      expect(await said(['send', 'far', '-', 'stream'], 'x'.repeat(MOST + 1))).toContain(
        `"stream" has more than ${MOST} bytes`,
      );
    },
  );
});

describe('Ctrl-C', () => {
  it('ends a transfer at once, however slow it was asked to be', async () => {
    await writeLarge(join(b.home, 'slow'), 2_900_000);
    const child = a.spawn(['pull', 'far', 'slow', './', '--limit', '2k']);
    await until(async () => (await draftsIn(a.home)).length > 0, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const begun = performance.now();
    child.kill('SIGINT');
    await once(child, 'close');
    await until(
      async () => (await a.json<{ transfers: unknown[] }>(['transfers', 'list'])).transfers.length === 0,
      3000,
    );
    expect(performance.now() - begun).toBeLessThan(3000);
  });
});

describe('a folder', () => {
  it(verifies('transfers.itself', 'is not copied into itself, here or on a peer'), async () => {
    for (const [machine, place] of [
      [a, 'localhost:'],
      [b, 'far:'],
    ] as const) {
      await mkdir(join(machine.home, 'tree', 'sub'), { recursive: true });
      const { code, stderr } = await a.run(['cp', `${place}tree`, `${place}tree/sub/`]);
      expect(code).toBe(1);
      expect(stderr).toContain('lies in what is to be copied there');
      const mirrored = await a.run(['cp', '--delete', `${place}tree/sub/.`, `${place}tree`]);
      expect(mirrored.stderr).toContain('--delete would remove it there');
      expect(await readdir(join(machine.home, 'tree', 'sub'))).toEqual([]);
    }
  });
});

describe('--checksum', () => {
  it(verifies('transfers.contents', 'sends what has other contents, and nothing else'), async () => {
    await mkdir(join(a.home, 'picky'));
    for (const name of ['same', 'other', 'large']) await writeFile(join(a.home, 'picky', name), name.padEnd(5));
    await writeLarge(join(a.home, 'picky', 'large'), 2_000_000);
    await a.run(['send', 'far', 'picky', './']);
    const there = join(b.home, 'picky');
    for (const name of ['same', 'large']) await utimes(join(there, name), 1, 1);
    await writeFile(join(there, 'other'), 'OTHER');
    const { mtime } = await stat(join(a.home, 'picky', 'other'));
    await utimes(join(there, 'other'), mtime, mtime);
    const args = ['send', 'far', 'picky', './', '--checksum', '--json'];
    const dry = endOf((await a.run([...args, '--dry-run'])).stdout);
    expect(dry.files).toMatchObject({ done: 1, skipped: 2 });
    expect(await readFile(join(there, 'other'), 'utf8')).toBe('OTHER');
    const { files, bytes } = endOf((await a.run(args)).stdout);
    expect(files).toMatchObject({ done: 1, skipped: 2, failed: 0 });
    expect(bytes.sent).toBeLessThan(100);
    expect(await readFile(join(there, 'other'), 'utf8')).toBe('other');
  });
});

describe('POST /transfer/push, asked for what can not be', () => {
  /** Pushes to the peer, as a program does. */
  const push = async (
    fields: Record<string, string>,
    bytes: Uint8Array | string = 'new',
  ): Promise<{ status: number; name?: string }> => {
    const { url, token } = await a.registration();
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    form.set('file', new Blob([bytes]), 'f');
    const answer = await fetch(`${url}/api/v1/transfer/push?peer=far`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: form,
    });
    const body = (await answer.json()) as { error?: { name: string } };
    return { status: answer.status, ...(body.error === undefined ? {} : { name: body.error.name }) };
  };

  it(
    verifies(
      'transfers.bad-input',
      'says which of its reasons it is; the old file stays, no draft, and the node goes on',
    ),
    async () => {
      await mkdir(join(b.home, 'folder'), { recursive: true });
      await writeFile(join(b.home, 'old'), 'old');
      await writeFile(join(b.home, 'folder', 'file'), 'x');
      await promisify(execFile)('mkfifo', [join(b.home, 'pipe')]);
      const cases: [Record<string, string>, number, string][] = [
        [{ destPath: 'folder' }, 409, 'wrong_type'],
        [{ destPath: 'missing/x' }, 404, 'file_not_found'],
        [{ destPath: 'folder/file/x' }, 409, 'wrong_type'],
        [{ destPath: '/etc/x' }, 403, 'path_denied'],
        [{ destPath: '.ssh/authorized_keys' }, 403, 'path_denied'],
        [{ destPath: '.loopsy/config.yaml' }, 403, 'path_denied'],
        [{ destPath: 'folder/../../../../etc/x' }, 403, 'path_denied'],
        [{ destPath: 'nul\u0000x' }, 403, 'path_denied'],
        [{ destPath: 'old', checksum: '0'.repeat(64) }, 422, 'checksum_mismatch'],
        [{ destPath: 'old', checksum: 'x' }, 400, 'invalid_request'],
        [{}, 400, 'invalid_request'],
        [{ destPath: 'old', cheksum: '0'.repeat(64) }, 400, 'invalid_request'],
        [{ destPath: 'pipe' }, 409, 'wrong_type'],
      ];
      for (const [fields, status, name] of cases)
        expect(await push(fields), JSON.stringify(fields)).toEqual({ status, name });
      const large = new Uint8Array(MOST + 1);
      expect(await push({ destPath: 'old' }, large)).toEqual({ status: 413, name: 'file_too_large' });
      expect(await push({ destPath: 'old' }, new Uint8Array(12_000_000))).toEqual({
        status: 413,
        name: 'file_too_large',
      });
      expect(await readFile(join(b.home, 'old'), 'utf8')).toBe('old');
      expect((await stat(join(b.home, 'pipe'))).isFIFO()).toBe(true);
      expect(await draftsIn(b.home)).toEqual([]);
      expect(await push({ destPath: 'old' })).toEqual({ status: 200 });
      expect(await push({ destPath: 'limit' }, new Uint8Array(MOST))).toEqual({ status: 200 });
      expect(await readFile(join(b.home, 'old'), 'utf8')).toBe('new');
    },
  );
});

describe('POST /transfer/pull', () => {
  it(verifies('transfers.bad-input', 'says how large a file is that has no such range, of a peer too'), async () => {
    const { url, token } = await a.registration();
    for (const [machine, query] of [
      [a, ''],
      [b, '?peer=far'],
    ] as const) {
      await writeFile(join(machine.home, 'five'), '12345');
      await writeFile(join(machine.home, 'none'), '');
      const ask = async (sourcePath: string, range: string): Promise<unknown[]> => {
        const answer = await fetch(`${url}/api/v1/transfer/pull${query}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', range },
          body: JSON.stringify({ sourcePath }),
        });
        const text = await answer.text();
        return [answer.status, answer.headers.get('content-range'), answer.ok ? text : JSON.parse(text).error.name];
      };
      expect(await ask('five', 'bytes=5-')).toEqual([416, 'bytes */5', 'range_unsatisfiable']);
      expect(await ask('none', 'bytes=-3')).toEqual([416, 'bytes */0', 'range_unsatisfiable']);
      expect(await ask('five', 'bytes=3-9')).toEqual([206, 'bytes 3-4/5', '45']);
    }
  });
});
