import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';

import { describe, expect, it, onTestFinished } from 'vitest';

import { type Address, dial, formatAddress, linkContext, type Pinned, probe } from '../../../src/daemon/peers/dial.ts';
import { PeerFactsBook } from '../../../src/daemon/peers/facts.ts';
import { Links } from '../../../src/daemon/peers/links.ts';
import { systemClock as clock } from '../../../src/kernel/clock.ts';
import { toPem } from '../../../src/trust/certificates.ts';
import { createIdentity } from '../../../src/trust/identity.ts';
import { machineOf } from '../../../src/trust/trust-records.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { makeMachine, type TestMachine, TrustDesk } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { listen, silentLog } from '../edge/listening.ts';

const pemOf = ({ key, certificate }: TestMachine): { key: string; cert: string } => ({
  key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  cert: toPem(certificate),
});

const own = pemOf(await makeMachine());
const context = linkContext({ keyPem: own.key, certPem: own.cert });
const kai = await makeMachine();
const other = await makeMachine();

const pinned = (...addresses: Address[]): Pinned => {
  const machine = machineOf(kai.certificate, {
    name: 'kai',
    source: 'paired',
    grant: { level: 'full', scopes: [], reach: 'all' },
  });
  if (machine === undefined) throw new Error('no machine');
  return { nodeId: kai.id, name: 'kai', machine, spkiHash: machine.spkiHash, addresses };
};

const reach = async (...addresses: Address[]): Promise<Address> => {
  const { socket, address } = await dial(pinned(...addresses), context, {
    signal: new AbortController().signal,
    now: () => Date.now(),
  });
  onTestFinished(() => void socket.destroy());
  return address;
};

/** A port where a machine answers. */
const portOf = async (machine: TestMachine): Promise<Address> => ({
  host: '127.0.0.1',
  port: (await listen({ identity: pemOf(machine) })).port,
});

/** A port where something accepts and says nothing. */
const silence = async (): Promise<Address> => {
  const server = net.createServer((socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  // It listens on an address.
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
};

const NOBODY = { host: '127.0.0.1', port: 1 };

describe('a dial', () => {
  it('reaches the pinned machine at the first address that leads to it', async () => {
    const [right, wrong, silent] = [await portOf(kai), await portOf(other), await silence()];
    expect(await reach(right)).toEqual(right);
    expect(await reach(NOBODY, wrong, silent, right)).toEqual(right);
  });

  it(verifies('link.pinned', 'refuses every other machine, and says so rather than that nobody is there'), async () => {
    const wrong = await portOf(other);
    await expect(reach(wrong)).rejects.toMatchObject({ error: 'peer_handshake' });
    await expect(reach(NOBODY, wrong)).rejects.toMatchObject({
      error: 'peer_handshake',
      message: expect.stringContaining(formatAddress(wrong)),
    });
  });

  it(verifies('error.2003', 'says where nobody is, and that no address is known'), async () => {
    await expect(reach(NOBODY)).rejects.toMatchObject({
      error: 'peer_unreachable',
      message: expect.stringContaining('127.0.0.1:1'),
    });
    await expect(reach({ host: 'no-such-host.invalid', port: 1 })).rejects.toMatchObject({ error: 'peer_unreachable' });
    await expect(reach()).rejects.toMatchObject({ error: 'peer_unreachable', message: 'no address of kai is known' });
  });

  it('gives up what is silent, and at once when it is told to', async () => {
    await expect(reach(await silence())).rejects.toMatchObject({
      error: 'peer_unreachable',
      message: expect.stringContaining('took the connection, and says nothing'),
    });
    const stop = new AbortController();
    const waiting = dial(pinned(await silence()), context, { signal: stop.signal, now: () => Date.now() });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ error: 'peer_unreachable' });
  });

  it('writes addresses of both families as they are typed', () => {
    expect([formatAddress({ host: 'kai.local', port: 1 }), formatAddress({ host: 'fe80::1', port: 2 })]).toEqual([
      'kai.local:1',
      '[fe80::1]:2',
    ]);
  });
});

describe('a link', () => {
  const answerer = async (): Promise<Address> => portOf(kai);
  const cipherOf = async (to: Address): Promise<unknown> => {
    const { socket } = await dial(pinned(to), context, { signal: new AbortController().signal, now: () => Date.now() });
    onTestFinished(() => void socket.destroy());
    return [socket.getProtocol(), socket.getCipher().name];
  };

  it(
    verifies('link.cipher', 'is TLS 1.3 with the fastest of its ciphers, whichever side would rather have another'),
    async () => {
      const fastest = ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'];
      expect(await cipherOf(await answerer())).toEqual(fastest);
      // A client with Node's own order hears the node's.
      const { port } = await answerer();
      const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
      onTestFinished(() => void client.destroy());
      await once(client, 'secureConnect');
      expect([client.getProtocol(), client.getCipher().name]).toEqual(fastest);
    },
  );

  it('takes the others where the other side has nothing else, and nothing older', async () => {
    const { port } = await answerer();
    for (const ciphers of ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_256_GCM_SHA384']) {
      const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ciphers });
      onTestFinished(() => void client.destroy());
      await once(client, 'secureConnect');
      expect(client.getCipher().name).toBe(ciphers);
    }
    const old = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
    await expect(once(old, 'secureConnect')).rejects.toThrow(/version|alert|ECONNRESET|disconnected/);
  });
});

describe('a probe', () => {
  it('gives the certificate of whoever answers', async () => {
    const { certificate: der, localAddress } = await probe(await portOf(other), new AbortController().signal);
    expect(localAddress).toBe('127.0.0.1');
    expect(Buffer.from(der).equals(other.certificate)).toBe(true);
    await expect(probe(NOBODY, new AbortController().signal)).rejects.toMatchObject({ error: 'peer_unreachable' });
  });
});

describe('the links', () => {
  it('are one for each trusted peer, gone with its trust', async () => {
    const identity = await createIdentity(await tempFolder());
    const desk = new TrustDesk(await makeMachine());
    await desk.book.trustMachine({ certificate: kai.certificate, name: 'kai' });
    const facts = new PeerFactsBook(openMemoryStore({ clock }), silentLog);
    const links = new Links({ identity, trust: desk.book, facts, clock });
    const known = links.to(kai.id);
    expect(links.to(kai.id)).toBe(known);
    links.booted(kai.id, 'boot-2');
    expect(links.to(kai.id).boot).toBe('boot-2');
    links.close(kai.id);
    expect(links.to(kai.id)).not.toBe(known);
    await desk.book.removeMachine('kai');
    links.closeAll();
    expect(() => links.to(kai.id)).toThrow(expect.objectContaining({ error: 'peer_not_found' }));
    expect(() => links.to(other.id)).toThrow(expect.objectContaining({ error: 'peer_not_found' }));
  });
});
