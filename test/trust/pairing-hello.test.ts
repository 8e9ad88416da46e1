import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { issueSessionCertificate, nodeIdOf, spkiOf, toPem } from '../../src/trust/certificates.ts';
import { pairingHash } from '../../src/trust/pairing-crypto.ts';
import { localNameOf, makeHello, readHello, type OwnMachine } from '../../src/trust/pairing-hello.ts';
import { errorOf, kai, mallory, maria } from './two-machines.ts';

const run = Buffer.alloc(32, 1);
const commit = Buffer.alloc(32, 2);

const hello = (own: Partial<OwnMachine> = {}): Buffer =>
  makeHello('joiner', run, { own: { ...maria, ...own }, extras: { commit } });

/** A hello whose core was changed by one who holds the key that signs it. */
const forged = (change: (core: Record<string, unknown>) => unknown, key = maria.privateKey): Buffer => {
  const { core } = JSON.parse(hello().toString()) as { core: string };
  const changed = change(JSON.parse(core) as Record<string, unknown>);
  const text = typeof changed === 'string' ? changed : JSON.stringify(changed);
  const signed = pairingHash('hello joiner', run, Buffer.from(text));
  return Buffer.from(JSON.stringify({ core: text, sig: sign('sha256', signed, key).toString('base64url') }));
};
const read = (bytes: Uint8Array, from = run): Promise<string> => errorOf(() => readHello('joiner', from, bytes));

describe('a hello', () => {
  it('says who its machine is, and proves it', () => {
    const { peer, extras } = readHello('joiner', run, hello());
    expect(extras.commit).toEqual(commit);
    const { certificate, machineId, name, port, version, features } = maria;
    expect(peer).toEqual({ certificate, machineId, name, port, version, features });
  });

  it('may hold fields that a later version adds: they are signed with the rest, and not read', () => {
    const { peer } = readHello(
      'joiner',
      run,
      forged((core) => ({ ...core, motto: 'later', extra: [1, { a: 2 }] })),
    );
    expect(peer.name).toBe('maria');
    expect(Object.keys(peer)).not.toContain('motto');
  });

  it('claims another machine’s certificate: refused', async () => {
    expect(await read(hello({ certificate: kai.certificate }))).toBe('invalid_request signature');
    expect(await read(forged((core) => core, mallory.privateKey))).toBe('invalid_request signature');
  });

  it('is of one run and one role', async () => {
    expect(await read(hello(), Buffer.alloc(32, 9))).toBe('invalid_request signature');
    const asHost = makeHello('host', run, { own: maria, extras: { nonce: commit, seen: commit } });
    expect(await read(asHost)).toBe('invalid_request');
    const both = makeHello('host', run, { own: maria, extras: { nonce: commit, seen: commit, commit } });
    expect(await read(both)).toBe('invalid_request signature');
  });

  it('is taken as it was sent: a core with the same values in other words has another signature', async () => {
    const { core, sig } = JSON.parse(hello().toString()) as { core: string; sig: string };
    const other = JSON.stringify({ core: core.replace('{', '{ '), sig });
    expect(await read(Buffer.from(other))).toBe('invalid_request signature');
    expect(await read(forged((fields) => `  ${JSON.stringify(fields, null, 2)}  `))).toBe('none');
  });

  it('has exactly two fields', async () => {
    const fields = JSON.parse(hello().toString()) as Record<string, string>;
    for (const wrong of [{ ...fields, more: 1 }, { core: fields['core'] }, { sig: fields['sig'] }, [], 'core', null])
      expect(await read(Buffer.from(JSON.stringify(wrong)))).toBe('invalid_request');
    expect(await read(Buffer.from('{'))).toBe('invalid_request');
    expect(await read(Buffer.from([0xff, 0xfe]))).toBe('invalid_request hello');
    expect(await read(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), hello()]))).toBe('invalid_request');
    const half = JSON.stringify({ ...fields, core: 'x\ud800' });
    expect(await read(Buffer.from(half))).toBe('invalid_request');
  });

  it.each([
    ['a capital', 'Kai'],
    ['64 characters', 'a'.repeat(64)],
    ['nothing', ''],
    ['an escape sequence', 'kai\u001b[2J'],
    ['a line break', 'kai\n'],
    ['a homoglyph', 'kаi'],
    ['a zero-width space', 'kai\u200b'],
    ['a bidi mark', '\u202eiak'],
    ['no text', 7],
  ])('names with %s are refused', async (_what, name) => {
    expect(await read(forged((core) => ({ ...core, name })))).toBe('invalid_request');
  });

  it.each([
    ['port', 0],
    ['port', 65_536],
    ['port', '19532'],
    ['version', 'x'.repeat(65)],
    ['version', '2.0\u001b'],
    ['features', 'exec'],
    ['features', ['ok', '<b>']],
    ['features', Array.from({ length: 65 }, () => 'x')],
    ['commit', 'AAAA'],
    ['commit', undefined],
    ['cert', Buffer.alloc(2049, 1).toString('base64url')],
    ['cert', undefined],
  ])('a %s of %j is refused', async (field, value) => {
    expect(await read(forged((core) => ({ ...core, [field]: value })))).toBe('invalid_request');
  });

  it('takes no certificate but a machine’s own: all of its bytes, and nothing behind it', async () => {
    const session = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ofSession = issueSessionCertificate(maria.privateKey, session.privateKey, Date.now());
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const changed = Buffer.from(maria.certificate);
    changed.writeUInt8((changed.at(-1) ?? 0) ^ 1, changed.length - 1);
    const bad = [
      ofSession,
      changed,
      Buffer.concat([maria.certificate, maria.certificate]),
      Buffer.concat([maria.certificate, Buffer.alloc(1)]),
      Buffer.from(toPem(maria.certificate)),
      createPublicKey(p384.privateKey).export({ type: 'spki', format: 'der' }),
      Buffer.alloc(0),
    ];
    for (const certificate of bad) {
      const cert = certificate.toString('base64url');
      const result = await read(forged((core) => ({ ...core, cert })));
      expect(['invalid_request certificate', 'invalid_request']).toContain(result);
    }
    expect(nodeIdOf(spkiOf(maria.privateKey) ?? Buffer.alloc(0))).toBe(maria.machineId);
  });

  it('proposes a name that can be one here', () => {
    expect(localNameOf('kai')).toBe('kai');
    expect(localNameOf('-kai--')).toBe('kai');
    expect(localNameOf('---')).toBe('peer');
    expect(localNameOf(maria.machineId)).toBe('peer');
  });
});
