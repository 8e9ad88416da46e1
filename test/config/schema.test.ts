import { describe, expect, it } from 'vitest';

import { parseConfig } from '../../src/config/load.ts';
import { CONFIG_KEYS, keysAt, pathOfKey, valueOfKey } from '../../src/config/schema.ts';
import { API_KEY, MINIMAL, sourceIn } from './source.ts';

const source = sourceIn('/home/kai/.loopsy');

describe('the settings', () => {
  it('have every key of the contract, with its default', () => {
    const { transfer, ...rest } = parseConfig(MINIMAL, source);
    expect(rest).toEqual({
      version: 2,
      server: { port: 19532, host: '0.0.0.0', hostname: 'kais-laptop' },
      auth: { apiKey: API_KEY, allowedKeys: {} },
      tls: { enabled: true, pinnedCerts: {} },
      execution: {
        env: {},
        denylist: ['rm', 'rmdir', 'format', 'mkfs', 'dd', 'shutdown', 'reboot'],
        allowlist: [],
        maxConcurrent: 10,
        maxQueued: 200,
        defaultTimeout: 300_000,
      },
      rateLimits: { execute: 30, transfer: 10, context: 60 },
      discovery: { enabled: true, quiet: false, interfaces: [], manualPeers: [] },
      tasks: { maxConcurrent: 3, timeout: 1_800_000 },
      context: { maxBytes: 268_435_456, maxBytesPerPeer: 67_108_864 },
      messages: { ttl: 604_800, perMinute: 120, maxChain: 32, loopGuard: true, maxBytes: 67_108_864 },
      jobs: { maxOutputBytes: 104_857_600, keepDays: 7 },
      audit: { maxBytes: 10_485_760, keep: 10 },
      power: { keepAwake: true },
      logging: { level: 'info', file: '/home/kai/.loopsy/logs/node.log' },
    });
    expect(transfer).toMatchObject({ allowedPaths: ['/home/kai'], maxFileSize: 1_073_741_824 });
    expect(transfer.deniedPaths).toEqual(
      expect.arrayContaining(['/home/kai/.ssh', '/home/kai/.gnupg', '/home/kai/.aws', '/home/kai/.loopsy']),
    );
  });

  it('name their keys with dots; what stands behind a record is one name', () => {
    expect(CONFIG_KEYS).toContain('server.port');
    expect(CONFIG_KEYS).toContain('auth.allowedKeys');
    expect(CONFIG_KEYS).toHaveLength(39);
    expect(pathOfKey('server.port')).toEqual(['server', 'port']);
    expect(pathOfKey('auth.allowedKeys.ci.west')).toEqual(['auth', 'allowedKeys', 'ci.west']);
    expect(pathOfKey('execution.env.PATH')).toEqual(['execution', 'env', 'PATH']);
    for (const key of [
      'server',
      'version',
      'server.prot',
      'server.port.x',
      '__proto__.x',
      'execution.env.',
      'execution.env.__proto__',
    ])
      expect(pathOfKey(key)).toBeUndefined();
    expect(valueOfKey(parseConfig(MINIMAL, source), 'rateLimits.execute')).toBe(30);
    expect(keysAt(['discovery', 'manualPeers', 0])).toEqual(['address', 'port']);
    expect(keysAt(['auth', 'allowedKeys'])).toEqual([]);
  });
});
