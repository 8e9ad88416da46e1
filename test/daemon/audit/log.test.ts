import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { auditHandlers } from '../../../src/daemon/audit/handlers.ts';
import { AuditLog } from '../../../src/daemon/audit/log.ts';
import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { type AuditRecord, auditListSchema, auditRecordSchema } from '../../../src/protocol/audit.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

let serial = 0;
const record = (more: Partial<AuditRecord> = {}): AuditRecord => ({
  timestamp: 1_800_000_000_000 + ++serial,
  requestId: serial.toString(16).padStart(32, '0'),
  caller: 'owner',
  fromIp: '127.0.0.1',
  operation: 'job.execute',
  method: 'POST',
  path: '/api/v1/execute',
  decision: 'allowed',
  statusCode: 200,
  duration: 1.5,
  ...more,
});

const refusal = (more: Partial<AuditRecord> = {}): AuditRecord =>
  record({ caller: 'stranger', decision: 'missing_key', statusCode: 401, fromIp: '10.0.0.9', ...more });

interface Opened {
  readonly audit: AuditLog;
  readonly clock: FakeClock;
  readonly file: string;
  lines(): Promise<AuditRecord[]>;
}

const open = async (more: Partial<ConstructorParameters<typeof AuditLog>[0]> = {}): Promise<Opened> => {
  const file = join(await tempFolder(), 'logs', 'audit.jsonl');
  const clock = new FakeClock();
  const audit = new AuditLog({ file, clock, maxBytes: 1_000_000, keep: 3, ...more });
  let stopped: Promise<void> | undefined;
  const stop = audit.stop.bind(audit);
  audit.stop = () => (stopped ??= stop());
  onTestFinished(() => audit.stop());
  const lines = async (): Promise<AuditRecord[]> => {
    const text = await readFile(file, 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => auditRecordSchema.parse(JSON.parse(line)));
  };
  return { audit, clock, file, lines };
};

describe('the audit log', () => {
  it(verifies('data.audit-flush', 'holds one line a request, written within a second, in a private file'), async () => {
    const { audit, clock, file, lines } = await open();
    audit.record(record({ command: 'ls', args: ['-la'] }));
    audit.record(record({ caller: 'peer:abc', decision: 'scope_missing', statusCode: 403 }));
    clock.advance(1000);
    await expect.poll(lines).toHaveLength(2);
    expect((await lines())[0]).toMatchObject({ command: 'ls', args: ['-la'], decision: 'allowed' });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('says that what it is about was done, where the disk does not take its line, and what to do', async () => {
    const file = join(await tempFolder(), 'logs');
    await writeFile(file, 'no folder');
    const { audit } = await open({ file: join(file, 'audit.jsonl') });
    audit.record(record());
    const refused: unknown = await audit.flush().catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({
      message: expect.stringMatching(/^this was done, but the audit log can not be written: E/),
      hint: expect.stringContaining('make room on the disk'),
    });
  });

  it(verifies('data.audit-flush', 'is on the disk when a flush has resolved'), async () => {
    const { audit, lines } = await open();
    audit.record(record({ operation: 'key.revoke' }));
    await audit.flush();
    expect(await lines()).toHaveLength(1);
  });

  it('refuses the answer where the disk does not take the record', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'logs'), 'a file where the folder should be');
    const { audit } = await open({ file: join(folder, 'logs', 'audit.jsonl') });
    audit.record(record());
    await expect(audit.flush()).rejects.toMatchObject({ error: 'internal' });
  });

  it('loses nothing at a stop', async () => {
    const { audit, lines } = await open();
    for (let i = 0; i < 3; i += 1) audit.record(refusal());
    audit.record(record());
    await audit.stop();
    expect(await lines()).toHaveLength(3);
  });

  it('cuts long values and long lists, and says how much', async () => {
    const { audit, lines } = await open();
    audit.record(record({ command: 'x'.repeat(5000), args: Array.from({ length: 4096 }, () => 'y'.repeat(2000)) }));
    await audit.flush();
    const [line] = await lines();
    expect(String(line?.['command'])).toMatch(/^x{1024}… \(3976 more characters\)$/);
    expect(line?.['args']).toHaveLength(65);
    expect(JSON.stringify(line).length).toBeLessThan(100_000);
  });

  it(verifies('config.audit', 'stays within its bounds, old files first'), async () => {
    const { audit, file } = await open({ maxBytes: 4096, keep: 2 });
    for (let i = 0; i < 200; i += 1) audit.record(record());
    await audit.flush();
    const names = await readdir(join(file, '..'));
    expect(names.sort()).toEqual(['audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.2']);
    for (const name of names) expect((await stat(join(file, '..', name))).size).toBeLessThanOrEqual(4096);
    audit.setBounds({ maxBytes: 100_000, keep: 2 });
    for (let i = 0; i < 200; i += 1) audit.record(record());
    await audit.flush();
    expect((await stat(file)).size).toBeGreaterThan(4096);
  });

  it('costs a request little', async () => {
    const { audit } = await open({ clock: systemClock, maxBytes: 100_000_000 });
    const sample = record({ command: 'ls', args: ['-la', '/x'], cwd: '/home/kai' });
    const rounds = Array.from({ length: 5 }, () => {
      const begin = performance.now();
      for (let i = 0; i < 1000; i += 1) audit.record(sample);
      return performance.now() - begin;
    });
    // µs each; the bar is 10, the machine may be busy.
    expect(Math.min(...rounds)).toBeLessThan(30);
  });
});

describe('a flood of refusals', () => {
  it('becomes one line at once, then one line a second with its count', async () => {
    const { audit, clock, lines } = await open();
    for (let second = 0; second < 3; second += 1) {
      for (let i = 0; i < 500; i += 1) audit.record(refusal());
      clock.advance(1000);
    }
    clock.advance(2000);
    await audit.flush();
    expect((await lines()).map(({ count }) => count)).toEqual([undefined, 499, 500, 500]);
  });

  it('does not hide other sources, other decisions, or what a known caller was denied', async () => {
    const { audit, clock, lines } = await open();
    audit.record(refusal());
    audit.record(refusal({ fromIp: '10.0.0.10' }));
    audit.record(refusal({ decision: 'invalid_key' }));
    audit.record(record({ caller: 'peer:a', decision: 'command_denied', statusCode: 403, command: 'rm' }));
    audit.record(record({ caller: 'peer:a', decision: 'command_denied', statusCode: 403, command: 'dd' }));
    clock.advance(3000);
    await audit.flush();
    expect(await lines()).toHaveLength(5);
  });

  it('by strangers that are answered can not push the history out', async () => {
    const { audit, lines } = await open({ maxBytes: 4096, keep: 1 });
    audit.record(record({ operation: 'peer.trust' }));
    for (let i = 0; i < 10_000; i += 1) audit.record(refusal({ operation: 'system.health', decision: 'allowed' }));
    await audit.flush();
    expect((await lines())[0]?.operation).toBe('peer.trust');
  });

  it('from ever new sources uses bounded memory and keeps the counts', async () => {
    const { audit, lines } = await open({ maxBytes: 10_000_000 });
    for (let i = 0; i < 5000; i += 1) {
      audit.record(refusal({ fromIp: `10.1.${i >> 8}.${i & 255}` }));
      audit.record(refusal({ fromIp: `10.1.${i >> 8}.${i & 255}` }));
    }
    await audit.stop();
    const total = (await lines()).reduce((sum, { count }) => sum + (count ?? 1), 0);
    expect(total).toBe(10_000);
  });
});

describe('a trusted caller', () => {
  it('that may only look and asks ten thousand times cannot push its own traces out of the log', async () => {
    const { audit, clock, lines } = await open({ maxBytes: 32_768, keep: 1 });
    const by = { caller: 'peer:abc', fromIp: '10.0.0.7' };
    audit.record(record({ ...by, operation: 'job.execute', decision: 'scope_missing', statusCode: 403 }));
    for (let at = 0; at < 10_000; at += 1) {
      audit.record(record({ ...by, operation: 'system.status', method: 'GET', path: '/api/v1/status' }));
      clock.advance(1);
    }
    await audit.stop();
    const kept = await lines();
    expect(kept[0]).toMatchObject({ operation: 'job.execute', decision: 'scope_missing' });
    expect(kept.length).toBeLessThan(100);
    expect(kept.reduce((sum, { count }) => sum + (count ?? 1), 0)).toBe(10_001);
  });
});

describe('reading', () => {
  it('finds what is new enough behind a count that waited for its time', async () => {
    const { audit, clock } = await open();
    const at = 1_800_000_000_000;
    const beat = { caller: 'peer:abc', operation: 'peer.handshake' };
    for (let beats = 0; beats < 3; beats += 1) audit.record(record({ ...beat, timestamp: at }));
    clock.advance(599_000);
    audit.record(record({ timestamp: at + 599_000, operation: 'job.cancel' }));
    clock.advance(1000);
    const { records } = await audit.list({ since: at + 590_000 });
    expect(records.map(({ operation }) => operation)).toEqual(['job.cancel']);
  });

  it('gives the newest first and filters by peer, operation, time and decision', async () => {
    const { audit } = await open({ peerIdOf: (name) => (name === 'kai' ? 'abc' : undefined) });
    const at = 1_800_000_000_000;
    audit.record(record({ timestamp: at + 1, caller: 'peer:abc' }));
    audit.record(record({ timestamp: at + 2, peer: 'kai' }));
    audit.record(record({ timestamp: at + 3, operation: 'job.list', decision: 'scope_missing', statusCode: 403 }));
    audit.record(record({ timestamp: at + 4 }));
    const times = async (query: Parameters<AuditLog['list']>[0]): Promise<number[]> =>
      (await audit.list(query)).records.map(({ timestamp }) => timestamp - at);
    expect(await times({})).toEqual([4, 3, 2, 1]);
    expect(await times({ limit: 2 })).toEqual([4, 3]);
    expect(await times({ node: 'kai' })).toEqual([2, 1]);
    expect(await times({ operation: 'job.list' })).toEqual([3]);
    expect(await times({ since: at + 3 })).toEqual([4, 3]);
    expect(await times({ denied: true })).toEqual([3]);
  });

  const pagesOf = async (audit: AuditLog, query: Parameters<AuditLog['list']>[0]) => {
    const pages: AuditRecord[][] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page = auditListSchema.parse(await audit.list({ ...query, ...(cursor === '' ? {} : { cursor }) }));
      // What is recorded meanwhile, and the rotation that it brings, changes nothing of what comes.
      for (let at = 0; at < 100; at += 1) audit.record(record({ operation: 'job.list' }));
      pages.push(page.records);
      cursor = page.nextCursor;
    }
    return pages;
  };

  it('goes on page by page, none with more than 1,000 records or 4 MiB, without a record twice or lost', async () => {
    const { audit } = await open({ maxBytes: 1_000_000, keep: 100 });
    const command = 'ä'.repeat(1000);
    const long = Array.from({ length: 1200 }, () => record({ command, args: [command, command] }));
    const all = [...Array.from({ length: 2500 }, () => record()), ...long];
    for (const each of all) {
      audit.record(each);
      await audit.flush();
    }
    const pages = await pagesOf(audit, { limit: 1000, operation: 'job.execute' });
    expect(pages.flat().map(({ requestId }) => requestId)).toEqual(all.map(({ requestId }) => requestId).reverse());
    const bytes = pages.map((records) => Buffer.byteLength(JSON.stringify({ records, nextCursor: 'x'.repeat(40) })));
    expect(Math.max(...bytes)).toBeLessThan(4 * 1_048_576);
    expect(pages.map(({ length }) => length).slice(0, 3)).toEqual([expect.closeTo(670, -2), 1000, 1000]);
    const denied = await pagesOf(audit, { limit: 1, denied: true });
    expect(denied).toEqual([[]]);
  }, 20_000);

  it('passes over lines that are torn, and reads across rotated files', async () => {
    const folder = await tempFolder();
    const file = join(folder, 'audit.jsonl');
    await writeFile(`${file}.1`, `${JSON.stringify(record({ operation: 'old' }))}\n`);
    await writeFile(file, '{"timestamp":1,"cal\nnull\n"x"\n');
    const { audit } = await open({ file });
    audit.record(record({ operation: 'new' }));
    const { records } = auditListSchema.parse(await auditHandlers(audit)['audit.list']({}, undefined as never));
    expect(records.map(({ operation }) => operation)).toEqual(['new', 'old']);
  });
});

describe('following', () => {
  const operations = async (source: StreamSource, count: number): Promise<string[]> => {
    const seen: string[] = [];
    while (seen.length < count) {
      const piece = await source.next();
      if (piece === undefined) break;
      seen.push(auditRecordSchema.parse(JSON.parse(Buffer.from(piece.bytes).toString())).operation);
    }
    return seen;
  };

  it('shows new records that match as they come', async () => {
    const { audit } = await open();
    audit.record(record({ operation: 'before' }));
    const source = audit.follow({ denied: true });
    const next = operations(source, 1);
    audit.record(record({ operation: 'allowed' }));
    audit.record(record({ operation: 'denied', decision: 'path_denied' }));
    expect(await next).toEqual(['denied']);
  });

  it('begins with the past where it is asked for, with nothing missing and nothing twice', async () => {
    const { audit } = await open();
    const begin = record({ operation: 'r0' });
    audit.record(begin);
    audit.record(record({ operation: 'r1', command: 'x'.repeat(5000) }));
    const source = audit.follow({ since: begin.timestamp });
    audit.record(record({ operation: 'r2' }));
    const seen = operations(source, 4);
    await audit.list({});
    audit.record(record({ operation: 'r3' }));
    expect(await seen).toEqual(['r0', 'r1', 'r2', 'r3']);
  });

  it('ends when its reader leaves, and with the node', async () => {
    const { audit } = await open();
    const left = audit.follow({});
    const pending = left.next();
    left.close();
    expect(await pending).toBeUndefined();
    const last = audit.follow({}).next();
    await audit.stop();
    expect(await last).toBeUndefined();
  });

  it('ends with a reason for a reader that is too slow, after what it could hold', async () => {
    const { audit } = await open({ maxBytes: 10_000_000 });
    const source = audit.follow({});
    for (let i = 0; i < 1500; i += 1) audit.record(record());
    expect(await operations(source, 1000)).toHaveLength(1000);
    await expect(source.next()).rejects.toMatchObject({ error: 'request_timeout' });
  });

  it('takes a bounded number of readers', async () => {
    const { audit } = await open();
    const sources = Array.from({ length: 32 }, () => audit.follow({}));
    expect(() => audit.follow({})).toThrow('follow');
    sources[0]?.close();
    audit.follow({}).close();
  });
});
