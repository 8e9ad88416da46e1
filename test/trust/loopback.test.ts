import { describe, expect, it } from 'vitest';

import { isLoopback } from '../../src/trust/loopback.ts';
import { verifies } from '../requirements.ts';

const both = (address: string | undefined) => isLoopback({ remoteAddress: address, localAddress: address });

describe('loopback', () => {
  it.each([
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:127.0.0.1',
  ])('is %s', (address) => {
    expect(both(address)).toBe(true);
  });

  it.each([
    undefined,
    '',
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '126.255.255.255',
    '192.168.0.1',
    '10.127.0.1',
    '::2',
    '::ffff:192.168.0.1',
    '::ffff:128.0.0.1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    'fe80::1',
    'fe80::1%lo',
    '::1%eth0',
    '127.1',
    '2130706433',
    '0x7f000001',
    '127.0.0.1 ',
    'localhost',
    '127.0.0.1.evil.example',
  ])('is not %s', (address) => {
    expect(both(address)).toBe(false);
  });

  it(verifies('edge.loopback', 'needs both ends: a local address reached from the network is not'), () => {
    expect(isLoopback({ remoteAddress: '192.168.0.9', localAddress: '127.0.0.1' })).toBe(false);
    expect(isLoopback({ remoteAddress: '127.0.0.1', localAddress: '192.168.0.9' })).toBe(false);
    expect(isLoopback({ remoteAddress: '127.0.0.1' })).toBe(false);
    expect(isLoopback({ remoteAddress: '::1', localAddress: '::ffff:127.0.0.1' })).toBe(true);
  });
});
