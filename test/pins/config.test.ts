import { describe, expect, it } from 'vitest';

import { configSchema } from '../../src/config/schema.ts';
import { verifies } from '../requirements.ts';

const KEY = '0'.repeat(64);

describe('the configuration', () => {
  it(verifies('config.schema', 'has these keys with these defaults'), () => {
    expect(configSchema.parse({ version: 2, auth: { apiKey: KEY } })).toEqual({
      version: 2,
      server: { port: 19_532, host: '0.0.0.0' },
      auth: { apiKey: KEY, allowedKeys: {} },
      tls: { enabled: true, pinnedCerts: {} },
      execution: {
        env: {},
        denylist: ['rm', 'rmdir', 'format', 'mkfs', 'dd', 'shutdown', 'reboot'],
        allowlist: [],
        maxConcurrent: 10,
        maxQueued: 200,
        defaultTimeout: 300_000,
      },
      transfer: { allowedPaths: ['~'], maxFileSize: 1_073_741_824 },
      rateLimits: { execute: 30, transfer: 10, context: 60 },
      discovery: { enabled: true, quiet: false, interfaces: [], manualPeers: [] },
      tasks: { maxConcurrent: 3, timeout: 1_800_000 },
      context: { maxBytes: 268_435_456, maxBytesPerPeer: 67_108_864 },
      messages: { ttl: 604_800, perMinute: 120, maxChain: 32, loopGuard: true, maxBytes: 67_108_864 },
      jobs: { maxOutputBytes: 104_857_600, keepDays: 7 },
      audit: { maxBytes: 10_485_760, keep: 10 },
      power: { keepAwake: true },
      logging: { level: 'info' },
    });
  });

  it('has these keys without a default', () => {
    const parsed = configSchema.parse({
      version: 2,
      auth: { apiKey: KEY },
      server: { hostname: 'kai' },
      transfer: { deniedPaths: ['/secret'] },
      logging: { file: '/var/log/loopsy.log' },
    });
    expect(parsed.server.hostname).toBe('kai');
    expect(parsed.transfer.deniedPaths).toEqual(['/secret']);
    expect(parsed.logging.file).toBe('/var/log/loopsy.log');
  });
});
