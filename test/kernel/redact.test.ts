import { describe, expect, it } from 'vitest';

import { isSecretName, redact, REDACTED } from '../../src/kernel/redact.ts';

describe('secrets in log fields', () => {
  it.each([
    'token', 'agentToken', 'access_token', 'key', 'apiKey', 'apikey', 'API_KEY', 'x-api-key', 'privateKey', 'secret',
    'clientSecret', 'password', 'passphrase', 'authorization', 'Authorization', 'Proxy-Authorization', 'cookie',
    'Set-Cookie', 'pin', 'pinCode', 'pin_code', 'inviteCode', 'pairingCode', 'invitation', 'sas', 'credentials',
    'ANTHROPIC_API_KEY', 'GITHUB_TOKEN',
  ])('are told by the name %s', (name) => {
    expect(isSecretName(name, '123456')).toBe(true);
    expect(redact({ [name]: '123456' })).toEqual({ [name]: REDACTED });
  }); // prettier-ignore

  it.each([
    'exitCode',
    'statusCode',
    'errorCode',
    'keyName',
    'tokenCount',
    'keepDays',
    'monkey',
    'pinned',
    'path',
    'by',
  ])('are not seen in the name %s', (name) => expect(isSecretName(name, 'x')).toBe(false));

  it('a pairing code is hidden, an error code is shown', () => {
    expect(redact({ code: '483920' })).toEqual({ code: REDACTED });
    expect(redact({ code: 'ENOENT' })).toEqual({ code: 'ENOENT' });
    expect(redact({ code: 9001 })).toEqual({ code: 9001 });
  });

  it('are hidden at any depth: objects, lists, errors and their causes', () => {
    const error = Object.assign(new Error('no', { cause: { token: 's3cret' } }), { apiKey: 's3cret' });
    const text = JSON.stringify(redact({ a: { b: [{ password: 's3cret' }] }, allowedKeys: { ci: 's3cret' }, error }));
    expect(text).not.toContain('s3cret');
    expect(text).toContain('"message":"no"');
  });

  it('are hidden where they stand in a text as a header value', () => {
    expect(redact({ line: 'got Authorization: Bearer abc.def-12=, then left' })).toEqual({
      line: `got Authorization: Bearer ${REDACTED}, then left`,
    });
  });

  it('a value that JSON can not hold does no harm', () => {
    const loop: Record<string, unknown> = { n: 10n, when: new Date(0), bytes: new Uint8Array(5) };
    loop['self'] = loop;
    Object.defineProperty(loop, 'bad', { enumerable: true, get: () => { throw new Error('no'); } }); // prettier-ignore
    const text = JSON.stringify(redact({ loop, undefined }));
    expect(text).toContain('(too deep)');
    expect(text).toContain('"n":"10"');
    expect(text).toContain('"bytes":"(5 bytes)"');
    expect(text).toContain('(unreadable)');
  });

  it('a line stays small, whatever it is given', () => {
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`f${at}`, at]));
    const text = JSON.stringify(redact({ wide, list: Array(10_000).fill(1), text: 'x'.repeat(1_000_000) }));
    expect(text.length).toBeLessThan(12_000);
  });
});
