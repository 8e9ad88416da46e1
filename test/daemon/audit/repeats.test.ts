import { describe, expect, it } from 'vitest';

import { CHATTER, FLOODS, HEARTBEATS, type RepeatRule, Repeats } from '../../../src/daemon/audit/repeats.ts';
import type { AuditRecord } from '../../../src/protocol/audit.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

const read = (more: Partial<AuditRecord> = {}): AuditRecord => ({
  timestamp: 1,
  requestId: 'r',
  caller: 'peer:abc',
  fromIp: '10.0.0.7',
  operation: 'system.status',
  method: 'GET',
  path: '/api/v1/status',
  decision: 'allowed',
  statusCode: 200,
  duration: 1,
  ...more,
});

const beat = (more: Partial<AuditRecord> = {}): AuditRecord =>
  read({ operation: 'peer.handshake', method: 'POST', path: '/api/v1/peers/handshake', hostname: 'kai', ...more });

const start = (rule: RepeatRule) => {
  const clock = new FakeClock();
  const lines: AuditRecord[] = [];
  return { clock, lines, repeats: new Repeats(rule, clock, (record) => lines.push(record)) };
};

const total = (lines: readonly AuditRecord[]): number => lines.reduce((sum, { count }) => sum + (count ?? 1), 0);

describe('heartbeats in the audit log', () => {
  it('have a line when they begin, one in ten minutes with their count, and one for each new fact', () => {
    const { clock, lines, repeats } = start(HEARTBEATS);
    for (let at = 0; at < 240; at += 1) {
      repeats.take(beat());
      clock.advance(2500);
    }
    expect(lines.map(({ count }) => count)).toEqual([undefined, 239]);
    repeats.take(beat({ hostname: 'kai-new' }));
    repeats.take(beat({ decision: 'peer_version' }));
    expect(lines.slice(2).map(({ hostname, decision }) => [hostname, decision])).toEqual([
      ['kai-new', 'allowed'],
      ['kai', 'peer_version'],
    ]);
    repeats.flush();
    expect(clock.waiting).toBe(0);
  });
});

describe('what a caller asks beyond its own lines', () => {
  it('is counted into one line a minute for each operation and decision, and none is lost', () => {
    const { clock, lines, repeats } = start(CHATTER);
    for (let at = 0; at < 600; at += 1) {
      repeats.take(read(at % 2 === 0 ? {} : { operation: 'peer.list' }));
      clock.advance(1);
    }
    clock.advance(60_000);
    // 60 of its own, the first that were too many of each kind, and both counts.
    expect(lines).toHaveLength(64);
    expect(lines.slice(62).map(({ operation }) => operation)).toEqual(['system.status', 'peer.list']);
    expect(total(lines)).toBe(600);
  });

  it('comes back to a line each when it asks less', () => {
    const { clock, lines, repeats } = start(CHATTER);
    for (let at = 0; at < 100; at += 1) repeats.take(read());
    clock.advance(120_000);
    lines.length = 0;
    for (let at = 0; at < 100; at += 1) {
      repeats.take(read());
      clock.advance(1000);
    }
    expect(lines.map(({ count }) => count)).toEqual(Array.from({ length: 100 }, () => undefined));
  });

  it('does not hide what others ask, what the owner asks, effects, or a denial of another kind', () => {
    const { lines, repeats } = start(CHATTER);
    for (let at = 0; at < 1000; at += 1) repeats.take(read());
    lines.length = 0;
    const shown = [
      read({ caller: 'peer:other' }),
      ...Array.from({ length: 100 }, () => read({ caller: 'owner' })),
      ...Array.from({ length: 100 }, (_, at) => read({ operation: 'job.execute', command: `rm ${at}` })),
      ...Array.from({ length: 100 }, () => read({ operation: 'job.signal', jobId: '1' })),
      ...Array.from({ length: 100 }, () => read({ operation: 'job.execute', decision: 'command_denied' })),
      read({ operation: 'job.execute', decision: 'scope_missing', statusCode: 403 }),
      read({ operation: 'key.show', decision: 'scope_missing', statusCode: 403 }),
    ];
    for (const record of shown) repeats.take(record);
    expect(lines).toEqual(shown);
  });

  it.each([
    ['a new host name in each handshake', (at: number) => beat({ hostname: `kai-${at}` })],
    ['another address for each request', (at: number) => read({ fromIp: `fe80::${at.toString(16)}` })],
    ['requests that are refused', (at: number) => read({ operation: 'job.execute', decision: 'scope_missing', at })],
    [
      'requests that make no sense',
      (at: number) => read({ operation: 'job.execute', decision: 'invalid_request', at }),
    ],
    [
      'objects that are not there',
      (at: number) => read({ operation: 'end.close', decision: 'transfer_not_found', at }),
    ],
    ['ways that are not there', (at: number) => read({ operation: 'unknown', decision: 'unknown_route', at })],
    ['errors that another node makes up', (at: number) => read({ operation: 'job.get', decision: `error_${at}` })],
    ['ever new strangers', (at: number) => read({ caller: 'stranger', fromIp: `10.1.${at >> 8}.${at & 255}` })],
  ])('can not be made many lines by %s', (_, make) => {
    const { lines, repeats: chatter } = start(CHATTER);
    const clock = new FakeClock();
    const floods = new Repeats(FLOODS, clock, (record) => chatter.take(record));
    const heartbeats = new Repeats(HEARTBEATS, clock, (record) => floods.take(record));
    for (let at = 0; at < 10_000; at += 1) heartbeats.take(make(at));
    expect(lines.length).toBeLessThanOrEqual(62);
    for (const repeats of [heartbeats, floods, chatter]) repeats.flush();
    expect(lines.length).toBeLessThanOrEqual(64);
    expect(new Set(lines.map(({ caller }) => caller))).toEqual(new Set([make(0).caller]));
    expect(total(lines)).toBe(10_000);
  });

  it(
    verifies(
      'audit.steps',
      'is one line a minute for each step of a transfer and each way it is refused, at any speed',
    ),
    () => {
      const { clock, lines, repeats } = start(CHATTER);
      const step = (at: number): AuditRecord =>
        read({
          operation: ['source.read', 'target.write', 'target.put'][at % 3] ?? '',
          endId: String(at),
          decision: at % 2 === 0 ? 'path_denied' : 'allowed',
        });
      const minutes = 10;
      for (let at = 0; at < 600 * minutes; at += 1) {
        repeats.take(step(at));
        clock.advance(100);
      }
      repeats.flush();
      // Three steps with two outcomes, each when it is new and then once a minute.
      expect(lines.length).toBeLessThanOrEqual(6 * (minutes + 1));
      expect(total(lines)).toBe(600 * minutes);
      // They take nothing of what their caller may ask beside them, and what a transfer is and what came of it has its line all the same.
      lines.length = 0;
      for (let at = 0; at < 50; at += 1) repeats.take(read());
      expect(lines).toHaveLength(50);
      lines.length = 0;
      const told = [
        read({ operation: 'source.open', paths: ['/x'] }),
        read({ operation: 'target.open', dest: '/y' }),
        read({ operation: 'end.close', outcome: 'done' }),
        read({ caller: 'key:other', operation: 'target.write' }),
      ];
      for (const record of told) repeats.take(record);
      expect(lines).toEqual(told);
    },
  );

  it('uses bounded memory, however many callers there are: what is too much is counted under no name', () => {
    const { lines, repeats } = start(CHATTER);
    for (let round = 0; round < 62; round += 1) {
      for (let at = 0; at < 3400; at += 1) repeats.take(read({ caller: `key:${at}` }));
    }
    expect(lines).toHaveLength(60 * 3400 + 3001);
    expect(lines.at(-1)).toMatchObject({ caller: 'various', operation: 'various', decision: 'various' });
    repeats.flush();
    expect(total(lines)).toBe(62 * 3400);
  });
});
