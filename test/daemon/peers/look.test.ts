import type { networkInterfaces } from 'node:os';

import { describe, expect, it } from 'vitest';

import { ownAddresses } from '../../../src/daemon/peers/look.ts';

type Cards = ReturnType<typeof networkInterfaces>;

const card = (address: string, family: 'IPv4' | 'IPv6' = 'IPv4', internal = false): NonNullable<Cards[string]> => {
  const facts = { address, netmask: '', mac: '', internal, cidr: null };
  return [family === 'IPv4' ? { ...facts, family } : { ...facts, family, scopeid: 0 }];
};

const CARDS: Cards = {
  lo: card('127.0.0.1', 'IPv4', true),
  docker0: card('172.17.0.1'),
  'br-1f2e3d': card('172.18.0.1'),
  'vEthernet (WSL)': card('172.29.0.1'),
  vmnet8: card('192.168.99.1'),
  en5: card('169.254.3.4'),
  eth0: card('192.168.1.5'),
  wlan0: [...card('192.168.1.6'), ...card('fe80::1', 'IPv6')],
};

const from = (reachedFrom: string | undefined, interfaces: Cards = CARDS): string[] =>
  ownAddresses(19_532, { reachedFrom, interfaces });

describe('the addresses of this machine', () => {
  it('begin with the one from which the other side was reached', () => {
    expect(from('192.168.1.6')).toEqual(['192.168.1.6:19532', '192.168.1.5:19532']);
    expect(from('::ffff:192.168.1.6')[0]).toBe('192.168.1.6:19532');
    expect(from('172.17.0.1')[0]).toBe('172.17.0.1:19532');
    expect(from('2001:db8::7')[0]).toBe('[2001:db8::7]:19532');
  });

  it('are those of real cards, where nothing was reached or the address means something on one cable alone', () => {
    for (const nowhere of [undefined, 'fe80::1%eth0', '169.254.3.4'])
      expect(from(nowhere)).toEqual(['192.168.1.5:19532', '192.168.1.6:19532']);
  });

  it('are those of virtual cards where there are no others', () => {
    const { docker0, vmnet8, lo } = CARDS;
    expect(from(undefined, { lo, docker0, vmnet8 })).toEqual(['172.17.0.1:19532', '192.168.99.1:19532']);
    expect(from(undefined, { lo })).toEqual([]);
  });
});
