import { isIPv6 } from 'node:net';

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { peerNameSchema } from '../../src/protocol/ids.ts';
import { isHost, parseAddress, slugOf, uniqueName } from '../../src/protocol/names.ts';
import { verifies } from '../requirements.ts';

describe('a host name as a first name', () => {
  it.each([
    ['kai.local', 'kai'],
    ["Kai's MacBook Pro.local", 'kais-macbook-pro'],
    ['Kai’s MacBook Pro', 'kais-macbook-pro'],
    ['Zürich Büro', 'zurich-buro'],
    ['--a__b--', 'a-b'],
    ['BUILD-01.corp.example', 'build-01-corp-example'],
    ['box.internal', 'box'],
    ['日本', 'peer'],
    ['', 'peer'],
    ['x'.repeat(80), 'x'.repeat(63)],
    [`${'x'.repeat(62)} y`, 'x'.repeat(62)],
  ])('%j is %j', (hostname, name) => expect(slugOf(hostname)).toBe(name));

  it('is a name that commands take, whatever the host is called', () => {
    const hostnames = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 300 }),
      fc.string({ unit: 'binary', maxLength: 300 }),
    );
    fc.assert(fc.property(hostnames, (hostname) => peerNameSchema.safeParse(slugOf(hostname)).success));
  });

  it('stays a name, and becomes another one, where it is taken', () => {
    expect(uniqueName('kai', (name) => ['kai', 'kai-2'].includes(name))).toBe('kai-3');
    const long = 'x'.repeat(63);
    expect(uniqueName(long, (name) => name === long)).toBe(`${'x'.repeat(61)}-2`);
    const names = fc.string({ unit: 'grapheme', maxLength: 80 }).map(slugOf);
    fc.assert(
      fc.property(names, fc.nat(12), (wanted, takenOnes) => {
        const taken = new Set<string>();
        for (let at = 0; at <= takenOnes; at += 1) {
          const name = uniqueName(wanted, (other) => taken.has(other));
          expect(taken.has(name)).toBe(false);
          expect(peerNameSchema.safeParse(name).success).toBe(true);
          taken.add(name);
        }
      }),
    );
  });
});

describe('a host', () => {
  it.each([
    'kai',
    'kai.local',
    'kai.local.',
    'KAIS-MBP.fritz.box',
    '_dev_box',
    'büro.local',
    '日本',
    'xn--bro-hoa.example',
    '3com.example',
    `${'a'.repeat(63)}.${'b'.repeat(63)}`,
    '127.0.0.1',
    '255.255.255.255',
    '::1',
    'fe80::1%eth0',
    '::ffff:10.0.0.7',
  ])('%s is one', (text) => expect(isHost(text)).toBe(true));

  it.each([
    '',
    '.',
    '..',
    'a..b',
    '-a',
    'a-',
    'a b',
    '/etc/passwd',
    '../kai',
    'kai/health',
    'kai\\share',
    'kai\r\nHost: evil',
    'kai\n',
    'kai\u0000',
    'kai@evil',
    'kai?x',
    'kai#x',
    'kai%20',
    'kai:80',
    '[::1]',
    ':',
    ':::',
    'fe80::1%',
    'fe80::1%a/b',
    'fe80::1%\r\n',
    '1.2.3',
    '127.1',
    '256.1.1.1',
    '1.2.3.4.5',
    '2130706433',
    'kai.1',
    'a\u200bb',
    'a\u202eb',
    'http://kai',
    'a'.repeat(64),
    `${'a.'.repeat(130)}a`,
  ])('%j is none', (text) => expect(isHost(text)).toBe(false));

  it('is nothing that a URL would read in another way', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
        if (!isHost(text) || isIPv6(text)) return;
        // A letter that is younger than this Node is no host to it at all.
        if (!URL.canParse(`http://${text}:1/x`)) return;
        const url = new URL(`http://${text}:1/x`);
        expect([url.pathname, url.port, url.username, url.search, url.hash]).toEqual(['/x', '1', '', '', '']);
      }),
    );
  });
});

describe('an address', () => {
  it.each([
    ['kai.local', { host: 'kai.local', port: undefined }],
    ['192.168.1.20:19600', { host: '192.168.1.20', port: 19_600 }],
    ['[fe80::1%eth0]:80', { host: 'fe80::1%eth0', port: 80 }],
    ['[::1]', { host: '::1', port: undefined }],
    ['fe80::1', { host: 'fe80::1', port: undefined }],
    ['::1', { host: '::1', port: undefined }],
    ['::', { host: '::', port: undefined }],
    ['::ffff:10.0.0.7', { host: '::ffff:10.0.0.7', port: undefined }],
    ['1:2:3:4:5:6:7:8', { host: '1:2:3:4:5:6:7:8', port: undefined }],
  ])(verifies('cli.addresses', '%s is host and port'), (text, address) => expect(parseAddress(text)).toEqual(address));

  it.each([
    '',
    ':80',
    'a:0',
    'a:65536',
    'a:123456',
    'a:b',
    'a b',
    'a/b',
    'user@a',
    '[::1',
    '[a]:1:2',
    'http://a',
    '[::1]x',
    '[a]',
    '1:2:3',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'fe80::1%',
    '::12345',
  ])('%j is none', (text) => expect(parseAddress(text)).toBeUndefined());

  it('is read back as it was written, and nothing makes it throw', () => {
    const host = fc.oneof(
      fc.ipV4(),
      fc.domain(),
      fc.ipV6().map((v6) => `[${v6}]`),
    );
    const port = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(host, port, (name, number) => {
        expect(parseAddress(`${name}:${number}`)).toEqual({ host: name.replace(/^\[|\]$/g, ''), port: number });
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), (v6) => {
        expect(parseAddress(v6)).toEqual({ host: v6, port: undefined });
      }),
    );
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => [parseAddress(text)].length === 1));
    // As Node itself knows them.
    const odd = fc.string({ unit: fc.constantFrom(':', '::', '1', 'a', '.', '%', '1.2.3.4', 'ffff'), maxLength: 12 });
    fc.assert(
      fc.property(odd, (text) => {
        expect(parseAddress(text)?.host === text).toBe(isIPv6(text) || /^[^:]+$/.test(text));
      }),
    );
  });
});
