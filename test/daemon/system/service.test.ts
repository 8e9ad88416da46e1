import { hostname, userInfo } from 'node:os';

import { describe, expect, it } from 'vitest';

import { System, type SystemParts } from '../../../src/daemon/system/service.ts';
import { healthSchema, identitySchema, statusSchema } from '../../../src/protocol/system.ts';
import { VERSION } from '../../../src/protocol/version.ts';
import { FakeClock } from '../../helpers/clock.ts';

const clock = new FakeClock();

const systemOf = (more: Partial<SystemParts> = {}): System =>
  new System({
    nodeId: 'a'.repeat(32),
    fingerprint: 'f'.repeat(64),
    dataDir: '/data',
    clock,
    hostname: () => undefined,
    tlsEnabled: () => false,
    port: () => 19_532,
    listening: () => ['127.0.0.1:19532'],
    addresses: () => ['192.168.1.20:19532'],
    peers: () => ({ total: 2, online: 1, offline: 1 }),
    context: () => ({ entries: 4 }),
    messages: () => ({ unread: 0 }),
    jobs: () => ({ active: 1, queued: 0, detached: 0, held: 0, total: 9 }),
    restartNeeded: () => ['server.port'],
    warnings: () => ['look'],
    ...more,
  });

describe('what a node says of itself', () => {
  it('is its life on a clock that a person can not set', () => {
    const system = systemOf();
    clock.jump(-86_400_000);
    clock.advance(1234.4);
    expect(healthSchema.parse(system.health())).toEqual({
      status: 'ok',
      nodeId: 'a'.repeat(32),
      uptime: 1234,
      version: VERSION,
    });
  });

  it('is the hostname of the config, else that of the machine', () => {
    const configured: string[] = [];
    const system = systemOf({ hostname: () => configured[0] });
    expect(identitySchema.parse(system.facts()).hostname).toBe(hostname());
    configured.push('kai');
    expect(system.facts()).toMatchObject({
      hostname: 'kai',
      platform: process.platform,
      port: 19_532,
      capabilities: ['execute', 'transfer', 'context', 'messages'],
    });
  });

  it('is a status with all its counts, its user and its warnings', () => {
    const status = statusSchema.parse(systemOf().status());
    expect(status).toMatchObject({
      user: userInfo().username,
      pid: process.pid,
      tls: false,
      restartNeeded: ['server.port'],
      warnings: ['look'],
      jobs: { total: 9 },
      peers: { online: 1 },
    });
    expect(status.memory.rss).toBeGreaterThan(1_000_000);
  });
});
