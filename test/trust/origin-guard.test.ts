import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { guardOrigin, type OriginHeaders } from '../../src/trust/origin-guard.ts';
import { verifies } from '../requirements.ts';

const HOST = '127.0.0.1:19532';
const ask = (headers: OriginHeaders, more: { method?: string; pageFile?: boolean } = {}): string =>
  guardOrigin({ method: 'GET', pageFile: false, headers: { host: HOST, ...headers }, ...more })?.error ?? 'served';

describe('a request on loopback', () => {
  it.each(['127.0.0.1', '127.0.0.1:1', 'localhost:19532', 'LocalHost:80', '[::1]', '[::1]:19532'])(
    'is served for the host %s',
    (host) => {
      expect(ask({ host })).toBe('served');
    },
  );

  it.each([
    undefined,
    '',
    'evil.example',
    'evil.example:19532',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'localhost.',
    '127.0.0.1:19532.evil.example',
    '127.0.0.1@evil.example',
    'evil.example#127.0.0.1',
    '0.0.0.0:19532',
    '192.168.0.7:19532',
    '127.1',
    '2130706433',
    '[::ffff:127.0.0.1]',
    '::1',
    '127.0.0.1:',
    '127.0.0.1:123456',
    ' 127.0.0.1',
    '127.0.0.1\n',
    ['127.0.0.1', 'evil.example'],
  ])('is refused under a foreign name (DNS rebinding): %s', (host) => {
    expect(ask({ host })).toBe('foreign_origin');
  });

  it(verifies('edge.loopback', 'is served with its own origin, and with none'), () => {
    expect(ask({ origin: `http://${HOST}` })).toBe('served');
    expect(ask({ host: 'localhost:1', origin: 'http://LOCALHOST:1' })).toBe('served');
    expect(ask({})).toBe('served');
  });

  it.each([
    'null',
    '',
    'http://evil.example',
    `https://${HOST}`,
    'http://127.0.0.1',
    'http://127.0.0.1:8080',
    `http://localhost:19532`,
    `http://${HOST}/`,
    `http://${HOST}.evil.example`,
    `http://evil.example@${HOST}`,
    [`http://${HOST}`, `http://${HOST}`],
    'file://',
    'chrome-extension://abc',
  ])('is refused from the page %s', (origin) => {
    expect(ask({ origin })).toBe('foreign_origin');
    expect(ask({ origin }, { pageFile: true })).toBe('foreign_origin');
  });

  it(verifies('edge.loopback', 'is refused from a page on another port of this machine (same site)'), () => {
    expect(ask({ 'sec-fetch-site': 'same-site' })).toBe('foreign_origin');
  });

  it.each(['cross-site', 'same-site', '', 'SAME-ORIGIN', ['same-origin', 'cross-site']])(
    'is refused with Sec-Fetch-Site %s',
    (site) => {
      expect(ask({ 'sec-fetch-site': site })).toBe('foreign_origin');
    },
  );

  it('is served to our own page, and to what a person typed', () => {
    expect(ask({ 'sec-fetch-site': 'same-origin', origin: `http://${HOST}` })).toBe('served');
    expect(ask({ 'sec-fetch-site': 'none' })).toBe('served');
  });

  it('lets a link lead to the page’s files, and to nothing else', () => {
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    expect(ask(link, { pageFile: true })).toBe('served');
    expect(ask(link, { pageFile: false })).toBe('foreign_origin');
    expect(ask(link, { pageFile: true, method: 'POST' })).toBe('foreign_origin');
    expect(ask({ ...link, 'sec-fetch-dest': 'iframe' }, { pageFile: true })).toBe('foreign_origin');
    expect(ask({ ...link, 'sec-fetch-mode': 'no-cors' }, { pageFile: true })).toBe('foreign_origin');
    expect(ask({ ...link, origin: 'http://evil.example' }, { pageFile: true })).toBe('foreign_origin');
  });

  it('serves no generated host or origin but its own', () => {
    const text = fc.oneof(
      fc.string(),
      fc.webUrl(),
      fc.domain(),
      fc.ipV4(),
      fc.constantFrom('http://', '127.0.0.1', ':', '@', 'localhost'),
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), fc.array(text, { maxLength: 4 }), (host, origin) => {
        const [hostText, originText] = [host.join(''), origin.join('')];
        const own = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i.test(hostText);
        if (ask({ host: hostText }) === 'served') expect(own).toBe(true);
        if (ask({ host: hostText, origin: originText }) === 'served')
          expect(originText.toLowerCase()).toBe(`http://${hostText.toLowerCase()}`);
      }),
      { numRuns: 5000 },
    );
  });
});
