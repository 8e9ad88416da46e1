import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkServerIdentity, connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { issueSessionCertificate, toPem } from '../../src/trust/certificates.ts';
import { createIdentity, sessionIdentity, type Identity } from '../../src/trust/identity.ts';
import { identifyPeer, inspectLeaf, type Identified, type PinLookup } from '../../src/trust/leaf.ts';

const DAY_MS = 86_400_000;
const now = Date.now();

let folder: string;
let machine: Identity;
let session: Identity;
let stranger: Identity;
let strangerSession: Identity;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopsy-leaf-'));
  machine = await createIdentity(join(folder, 'machine'));
  session = await sessionIdentity(join(folder, 'session'), machine, now);
  stranger = await createIdentity(join(folder, 'stranger'));
  strangerSession = await sessionIdentity(join(folder, 'stranger-session'), stranger, now);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lookupOf = (identity: Identity, revoked = false): PinLookup => {
  const pinned = { machineId: identity.machineId, publicKey: () => createPublicKey(identity.privateKey), revoked };
  return {
    bySpkiHash: (hash) => (hash === identity.spkiHash ? pinned : undefined),
    byMachineId: (id) => (id === identity.machineId ? pinned : undefined),
  };
};

const identify = (certificate: Uint8Array, lookup: PinLookup, at = now): Identified => {
  const leaf = inspectLeaf(certificate);
  return leaf === undefined ? { refused: 'unknown' } : identifyPeer(leaf, lookup, at);
};

describe('identifying a peer', () => {
  it('knows a pinned machine and the sessions that it issued', () => {
    const lookup = lookupOf(machine);
    expect(identify(machine.certificate, lookup)).toEqual({ machineId: machine.nodeId, nodeId: machine.nodeId });
    expect(identify(session.certificate, lookup)).toEqual({ machineId: machine.nodeId, nodeId: session.nodeId });
  });

  it('refuses a stranger, and a session of a stranger', () => {
    expect(identify(stranger.certificate, lookupOf(machine))).toEqual({ refused: 'unknown' });
    expect(identify(strangerSession.certificate, lookupOf(machine))).toEqual({ refused: 'unknown' });
  });

  it('refuses a session certificate that only names a pinned machine as its issuer', () => {
    // Issued by the stranger's key, under the pinned machine's name.
    const forged = Buffer.from(strangerSession.certificate);
    const at = forged.indexOf(stranger.nodeId);
    forged.write(machine.nodeId, at);
    expect(inspectLeaf(forged)?.issuerId).toBe(machine.nodeId);
    expect(identify(forged, lookupOf(machine))).toEqual({ refused: 'unknown' });
  });

  it('refuses a leaf that a session issued: nothing deeper than one step', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const deeper = issueSessionCertificate(session.privateKey, privateKey, now);
    expect(identify(deeper, lookupOf(machine))).toEqual({ refused: 'unknown' });
  });

  it('refuses a session outside its time, by the injected clock', () => {
    const lookup = lookupOf(machine);
    expect(identify(session.certificate, lookup, now + 31 * DAY_MS)).toEqual({ refused: 'expired' });
    expect(identify(session.certificate, lookup, now - 3 * DAY_MS)).toEqual({ refused: 'expired' });
    expect(identify(session.certificate, lookup, Number.NaN)).toEqual({ refused: 'expired' });
    expect(identify(session.certificate, lookup, now + 29 * DAY_MS)).toMatchObject({ nodeId: session.nodeId });
  });

  it('says revoked to a removed machine and its sessions, and to nobody else', () => {
    const lookup = lookupOf(machine, true);
    expect(identify(machine.certificate, lookup)).toEqual({ refused: 'revoked' });
    expect(identify(session.certificate, lookup)).toEqual({ refused: 'revoked' });
    expect(identify(strangerSession.certificate, lookup)).toEqual({ refused: 'unknown' });
  });

  it('takes a hostile certificate for nobody, and never throws', () => {
    for (const source of [machine.certificate, session.certificate]) {
      for (let at = 0; at < source.length; at += 1) {
        const changed = Buffer.from(source);
        changed[at] = (changed[at] ?? 0) ^ 0x41;
        const found = identify(changed, lookupOf(machine));
        // What is outside the key and the signature of a pinned machine's own certificate proves nothing either way.
        if (source === session.certificate) expect(found, `byte ${at}`).toEqual({ refused: 'unknown' });
      }
    }
    expect(inspectLeaf(Buffer.alloc(0))).toBeUndefined();
    expect(inspectLeaf(Buffer.alloc(1_000_000, 0x30))).toBeUndefined();
  });
});

interface Handshake {
  readonly client: ConnectionOptions;
  readonly server: Identity;
}

/** Shakes hands for real; what the server saw of the client, and what the client saw. */
const shakeHands = async ({ client, server: identity }: Handshake): Promise<{ seen?: Uint8Array; error?: string }> => {
  const server = createServer({
    key: identity.keyPem,
    cert: identity.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The cast: an address of a TCP server that listens is never a pipe's name.
  const { port } = server.address() as AddressInfo;
  try {
    const seen = new Promise<Uint8Array>((resolve) => {
      server.once('secureConnection', (socket: TLSSocket) => {
        socket.on('error', () => socket.destroy());
        resolve(socket.getPeerX509Certificate()?.raw ?? new Uint8Array());
      });
    });
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: '',
      minVersion: 'TLSv1.3',
      checkServerIdentity: () => undefined,
      ...client,
    });
    try {
      await once(socket, 'secureConnect');
      return { seen: await seen };
    } catch (error) {
      return { error: error instanceof Error && 'code' in error ? String(error.code) : 'unknown' };
    } finally {
      socket.destroy();
    }
  } finally {
    server.close();
  }
};

const clientOf = (identity: Identity, trusted: Identity): ConnectionOptions => ({
  key: identity.keyPem,
  cert: identity.certificatePem,
  ca: [toPem(trusted.machineCertificate)],
  rejectUnauthorized: true,
});

describe('TLS 1.3 with these certificates', () => {
  it('lets a machine be server, client and ca at once', async () => {
    const { seen } = await shakeHands({ client: clientOf(stranger, machine), server: machine });
    expect(identify(seen ?? Buffer.alloc(0), lookupOf(stranger))).toMatchObject({ nodeId: stranger.nodeId });
  });

  it('lets a session be server and client under its machine as ca', async () => {
    const { seen } = await shakeHands({ client: clientOf(session, machine), server: session });
    expect(identify(seen ?? Buffer.alloc(0), lookupOf(machine))).toEqual({
      machineId: machine.nodeId,
      nodeId: session.nodeId,
    });
  });

  it('passes the name constraint where the client checks the name', async () => {
    const servername = `${session.nodeId}.loopsy.internal`;
    const client: ConnectionOptions = { ca: [toPem(machine.certificate)], servername, checkServerIdentity };
    expect((await shakeHands({ client, server: session })).error).toBeUndefined();
  });

  it("refuses another machine, and another machine's session, at the pinned address", async () => {
    expect((await shakeHands({ client: clientOf(session, machine), server: stranger })).error).toBe(
      'DEPTH_ZERO_SELF_SIGNED_CERT',
    );
    expect((await shakeHands({ client: clientOf(session, machine), server: strangerSession })).error).toBe(
      'SELF_SIGNED_CERT_IN_CHAIN',
    );
  });

  it('refuses an expired session as a server', async () => {
    const expired = await sessionIdentity(join(folder, 'expired'), machine, now - 40 * DAY_MS);
    expect((await shakeHands({ client: clientOf(machine, machine), server: expired })).error).toBe('CERT_HAS_EXPIRED');
  });

  it('does not let a session act as a CA', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const certificate = issueSessionCertificate(session.privateKey, privateKey, now);
    const deeper: Identity = {
      ...session,
      keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      certificatePem: toPem(certificate) + session.certificatePem,
    };
    expect((await shakeHands({ client: clientOf(session, machine), server: deeper })).error).toBeDefined();
    expect(new X509Certificate(certificate).ca).toBe(false);
  });
});
