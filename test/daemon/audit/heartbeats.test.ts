import { describe, expect, it } from 'vitest';

import { HEARTBEATS, Repeats } from '../../../src/daemon/audit/repeats.ts';
import type { AuditRecord } from '../../../src/protocol/audit.ts';
import { FakeClock } from '../../helpers/clock.ts';

const beat = (more: Partial<AuditRecord> = {}): AuditRecord => ({
  timestamp: 1,
  requestId: 'r',
  caller: 'peer:abc',
  fromIp: '10.0.0.7',
  operation: 'peer.handshake',
  method: 'POST',
  path: '/api/v1/peers/handshake',
  decision: 'allowed',
  statusCode: 200,
  duration: 1,
  hostname: 'kai',
  ...more,
});

describe('heartbeats in the audit log', () => {
  it('have a line when they begin, one in ten minutes with their count, and one for each new fact', () => {
    const clock = new FakeClock();
    const lines: AuditRecord[] = [];
    const repeats = new Repeats(HEARTBEATS, clock, (record) => lines.push(record));
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
