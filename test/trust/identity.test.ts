import { createPrivateKey, X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  buildMachineCertificate,
  fingerprintOf,
  nodeIdOf,
  readMachineCertificate,
  spkiOf,
  toPem,
} from '../../src/trust/certificates.ts';
import { createIdentity, loadIdentity, sessionIdentity } from '../../src/trust/identity.ts';
import { verifies } from '../requirements.ts';

const DAY_MS = 86_400_000;
const run = promisify(execFile);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopsy-identity-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Made once with another implementation (OpenSSL through Python's cryptography, ecdsa_deterministic). */
const VECTOR = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLQht7Kj8jDwLvEaI
NviC/vwSJDw1bAaK2qXvZaG43BWhRANCAAQOn5x96eNdzh8iOiqo2sZq3Jwmfics
TlIArdNZAkHQX1bxqauH0yu+cqB/9IuK3498Xj5/eYzrsbdtXzkQk8nm
-----END PRIVATE KEY-----
`,
  nodeId: 'sq3j4trqax3mgoo2rlhmguxyuumosttt',
  fingerprint: '471b0b7fb91ea89ad6aef40472b13e424f4618539af9023f85b95f4ad9f3263e',
  der:
    '308201cf30820175a003020102020101300a06082a8648ce3d040302302b3129302706035504030c207371336a347472716178336d676f6f32726c' +
    '686d6775787975756d6f737474743020170d3730303130313030303030305a180f39393939313233313233353935395a302b312930270603550403' +
    '0c207371336a347472716178336d676f6f32726c686d6775787975756d6f737474743059301306072a8648ce3d020106082a8648ce3d0301070342' +
    '00040e9f9c7de9e35dce1f223a2aa8dac66adc9c267e272c4e5200add3590241d05f56f1a9ab87d32bbe72a07ff48b8adf8f7c5e3e7f798cebb1b7' +
    '6d5f391093c9e6a3818730818430120603551d130101ff040830060101ff020100300e0603551d0f0101ff04040302028430210603551d1e0101ff' +
    '04173015a0133011820f6c6f6f7073792e696e7465726e616c303b0603551d110434303282307371336a347472716178336d676f6f32726c686d67' +
    '75787975756d6f737474742e6c6f6f7073792e696e7465726e616c300a06082a8648ce3d0403020348003045022100a3d518ec0413ccee7af48956' +
    '010332096b9193b0ab2ae6c8623ea9f2e22f09f8022078b67b5b8617364db53c10131b06b9224ea9a7215eaee0ce08e87bb33761b9d0',
};

describe('the certificate of a machine', () => {
  it(verifies('trust.certificate', 'is the same bytes for the same key, for ever'), async () => {
    const der = await buildMachineCertificate(createPrivateKey(VECTOR.key));
    expect(der.toString('hex')).toBe(VECTOR.der);
    expect(fingerprintOf(der)).toBe(VECTOR.fingerprint);
  });

  it(verifies('trust.node-id', 'names the node by its public key'), () => {
    expect(nodeIdOf(spkiOf(createPrivateKey(VECTOR.key)) ?? Buffer.alloc(0))).toBe(VECTOR.nodeId);
  });

  it('is read back only with every byte in place', () => {
    const der = Buffer.from(VECTOR.der, 'hex');
    expect(readMachineCertificate(der)?.x509.raw.equals(der)).toBe(true);
    for (let at = 0; at < der.length; at += 1) {
      const changed = Buffer.from(der);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(readMachineCertificate(changed), `byte ${at}`).toBeUndefined();
    }
    expect(readMachineCertificate(der.subarray(0, -1))).toBeUndefined();
    expect(readMachineCertificate(Buffer.alloc(100_000, 48))).toBeUndefined();
  });

  it('is worthless as a CA for any other name', async () => {
    const text = new X509Certificate(Buffer.from(VECTOR.der, 'hex'));
    expect(text.ca).toBe(true);
    const file = join(folder, 'cert.pem');
    await writeFile(file, toPem(text.raw));
    const { stdout } = await run('openssl', ['x509', '-in', file, '-noout', '-text']);
    expect(stdout).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(stdout).toMatch(/Key Usage: critical\s+Digital Signature, Certificate Sign/);
    expect(stdout).toMatch(/Name Constraints: critical\s+Permitted:\s+DNS:loopsy\.internal/);
    expect(stdout).not.toContain('Extended Key Usage');
  });
});

describe('the identity of a machine', () => {
  it(verifies('trust.node-id', 'is made once, closed to other users, and loaded again'), async () => {
    const tls = join(folder, 'tls');
    const made = await createIdentity(tls);
    const again = await createIdentity(tls);
    const loaded = await loadIdentity(tls);
    expect(again.fingerprint).toBe(made.fingerprint);
    expect(loaded).toMatchObject({ nodeId: made.nodeId, machineId: made.nodeId, fingerprint: made.fingerprint });
    expect(made.nodeId).toMatch(/^[a-z2-7]{32}$/);
    if (process.platform === 'win32') return;
    expect((await stat(tls)).mode & 0o777).toBe(0o700);
    expect((await stat(join(tls, 'key.pem'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(tls, 'cert.pem'))).mode & 0o777).toBe(0o600);
  });

  it('is one identity when many make it at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => createIdentity(folder)));
    expect(new Set(all.map((identity) => identity.fingerprint)).size).toBe(1);
  });

  it('is not there before it is made', async () => {
    expect(await loadIdentity(join(folder, 'nothing'))).toBeUndefined();
  });

  it.each([
    ['is lost', undefined],
    ['is empty', ''],
    ['is garbage', Buffer.from([0xff, 0xfe, 0x00, 0x80])],
    ['is of another key', toPem(Buffer.from(VECTOR.der, 'hex'))],
  ])('gets its certificate back byte for byte where it %s', async (_name, content) => {
    const made = await createIdentity(folder);
    const file = join(folder, 'cert.pem');
    const before = await readFile(file);
    if (content === undefined) await rm(file);
    else await writeFile(file, content);
    expect((await loadIdentity(folder))?.fingerprint).toBe(made.fingerprint);
    expect(await readFile(file)).toEqual(before);
  });

  it.each([
    ['empty', ''],
    ['cut', VECTOR.key.slice(0, 90)],
    [
      'of another curve',
      '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n',
    ],
  ])('is never replaced by itself where the key is %s', async (_name, content) => {
    const file = join(folder, 'key.pem');
    await writeFile(file, content, { mode: 0o600 });
    await expect(createIdentity(folder)).rejects.toMatchObject({ error: 'internal' });
    expect(await readFile(file, 'utf8')).toBe(content);
  });

  it('closes a key that other users could read', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no modes');
    await createIdentity(folder);
    await chmod(join(folder, 'key.pem'), 0o644);
    await loadIdentity(folder);
    expect((await stat(join(folder, 'key.pem'))).mode & 0o777).toBe(0o600);
  });
});

describe('the identity of a session', () => {
  it('has its own key and a certificate that its machine issued, renewed at half its life', async () => {
    const machine = await createIdentity(join(folder, 'machine'));
    const start = Date.UTC(2027, 0, 1);
    const tls = join(folder, 'session');
    const first = await sessionIdentity(tls, machine, start);
    const leaf = new X509Certificate(first.certificate);
    expect(first.nodeId).not.toBe(machine.nodeId);
    expect(first).toMatchObject({ machineId: machine.nodeId, fingerprint: machine.fingerprint });
    expect(leaf.ca).toBe(false);
    expect(leaf.subjectAltName).toBe(`DNS:${first.nodeId}.loopsy.internal`);
    expect(Date.parse(leaf.validFrom)).toBe(start - 2 * DAY_MS);
    expect(Date.parse(leaf.validTo)).toBe(start + 30 * DAY_MS);

    const kept = await sessionIdentity(tls, machine, start + 14 * DAY_MS);
    expect(kept.certificate.equals(first.certificate)).toBe(true);
    const renewed = await sessionIdentity(tls, machine, start + 16 * DAY_MS);
    expect(renewed.nodeId).toBe(first.nodeId);
    expect(renewed.certificate.equals(first.certificate)).toBe(false);
    const back = await sessionIdentity(tls, machine, start - 10 * DAY_MS);
    expect(Date.parse(new X509Certificate(back.certificate).validFrom)).toBe(start - 12 * DAY_MS);
  });

  it('is issued anew where the machine has another key', async () => {
    const tls = join(folder, 'session');
    const first = await sessionIdentity(tls, await createIdentity(join(folder, 'one')), 0);
    const other = await createIdentity(join(folder, 'two'));
    const second = await sessionIdentity(tls, other, 0);
    expect(second.nodeId).toBe(first.nodeId);
    expect(second.machineId).toBe(other.nodeId);
    expect(second.certificate.equals(first.certificate)).toBe(false);
  });
});
