import tls from 'node:tls';

import { beforeEach, describe, expect, it } from 'vitest';

import { CONNECTION_LIMITS, ConnectionBounds } from '../../../src/daemon/edge/connection-bounds.ts';
import type { SocketFacts } from '../../../src/daemon/edge/connection.ts';
import { type ListenerOptions, promote, socketFacts } from '../../../src/daemon/edge/listener.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { duplexes, GET, listen, newIdentity, timed, visit, visitSecurely } from './listening.ts';

/** Everybody is a stranger: the bounds off loopback, over addresses of 127/8. */
const STRANGERS: Partial<ListenerOptions> = { isLoopback: () => false };

describe('the bounds of strangers', () => {
  beforeEach(({ skip }) => skip(process.platform !== 'linux', 'only Linux has all of 127/8 as addresses'));

  const connected = async (port: number, localAddress: string): Promise<ReturnType<typeof visit>> => {
    const coming = visit(port, { localAddress });
    await new Promise<void>((resolve) => coming.socket.once('connect', () => resolve()));
    return coming;
  };
  const isOpen = async (coming: ReturnType<typeof visit>): Promise<boolean> => {
    coming.socket.write(GET);
    return (await coming.over).includes('ok');
  };

  it('refuses the 9th connection of a stranger, and keeps the 8', async () => {
    const { port } = await listen(STRANGERS);
    const eight = await Promise.all(Array.from({ length: 8 }, () => connected(port, '127.0.0.5')));
    expect(await isOpen(await connected(port, '127.0.0.5'))).toBe(false);
    expect(await isOpen(await connected(port, '127.0.0.6'))).toBe(true);
    for (const coming of eight) expect(await isOpen(coming)).toBe(true);
    expect(await isOpen(await connected(port, '127.0.0.5'))).toBe(true);
  });

  it('refuses the 257th connection of all strangers, and still lets known addresses in', async () => {
    const { port } = await listen({ ...STRANGERS, isKnownAddress: (address) => address === '127.1.0.1' });
    const crowd = await Promise.all(
      Array.from({ length: 256 }, (_, index) => connected(port, `127.0.1.${1 + Math.floor(index / 8)}`)),
    );
    expect(await isOpen(await connected(port, '127.0.2.1'))).toBe(false);
    expect(await isOpen(await connected(port, '127.1.0.1'))).toBe(true);
    for (const coming of crowd) coming.socket.destroy();
  });

  it('bounds loopback by itself: the 257th there is refused, strangers are not in the way', async () => {
    const { port } = await listen({ isLoopback: (remoteAddress) => remoteAddress !== '127.0.0.9' });
    const crowd = await Promise.all(Array.from({ length: 256 }, () => connected(port, '127.0.0.1')));
    expect(await isOpen(await connected(port, '127.0.0.1'))).toBe(false);
    expect(await isOpen(await connected(port, '127.0.0.9'))).toBe(true);
    for (const coming of crowd) coming.socket.destroy();
  });

  it('answers one request of a stranger and closes, even where more were sent at once', async () => {
    const paths: string[] = [];
    const { port } = await listen(STRANGERS, (request, response) => {
      paths.push(request.url ?? '');
      response.end('ok');
    });
    const coming = visit(port);
    coming.socket.write(GET + GET.replace('/', '/second'));
    const said = await coming.over;
    expect(paths).toEqual(['/']);
    expect(said.match(/HTTP\/1.1/g)?.length ?? 0).toBeLessThanOrEqual(1);
    const single = visit(port);
    single.socket.write(GET);
    expect(await single.over).toMatch(/connection: close/i);
  });

  it('cuts a stranger that sends more than 8 KiB', async () => {
    let bytes = 0;
    const { port } = await listen(STRANGERS, (request) => {
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    });
    const coming = visit(port);
    coming.socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n');
    const flood = setInterval(() => coming.socket.write('x'.repeat(4096)), 5);
    await coming.over;
    clearInterval(flood);
    expect(bytes).toBeLessThan(100_000);
  });

  it('ends the visit of a stranger that drips its body or never takes its answer', async () => {
    const { port } = await listen({ ...STRANGERS, limits: { visitMs: 300, bodyIdleMs: 5000 } });
    const coming = visit(port);
    coming.socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n');
    const drip = setInterval(() => coming.socket.write('x'), 20);
    expect(await timed(coming.over)).toBeLessThan(1500);
    clearInterval(drip);
  });

  it('takes a connection out of these bounds when it has shown who it is', async () => {
    const { port } = await listen(STRANGERS, (request, response) => {
      promote(request.socket, 'key:ci');
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.once('end', () => response.end(`got ${bytes}`));
    });
    const promoted = await connected(port, '127.0.0.7');
    promoted.socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`);
    await promoted.until('got 100000');
    promoted.socket.write(GET);
    await promoted.until('got 0');
    const others = await Promise.all(Array.from({ length: 8 }, () => connected(port, '127.0.0.7')));
    for (const coming of others) expect(coming.socket.destroyed).toBe(false);
    others[0]?.socket.write(GET);
    await others[0]?.until('got 0');
  });

  it('never bounds a pinned certificate as a stranger, and bounds each caller', async () => {
    const client = await newIdentity();
    const refused: boolean[] = [];
    const { port } = await listen(
      { ...STRANGERS, callerOf: () => 'peer:a', limits: { perCaller: 2 } },
      (request, response) => {
        refused.push(!promote(request.socket, 'peer:a'));
        request.resume().once('end', () => response.end('ok'));
      },
    );
    const body = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n${'x'.repeat(50_000)}`;
    const first = await visitSecurely(port, client);
    const second = await visitSecurely(port, client);
    for (const coming of [first, second]) {
      coming.socket.write(body);
      await coming.until('ok');
      expect(coming.socket.destroyed).toBe(false);
    }
    const third = await visitSecurely(port, client);
    third.socket.write(GET);
    expect(await third.over).toMatch(/connection: close/i);
    expect(refused).toEqual([false, false, true]);
  });

  it('bears a flood of handshakes: the flooder is not heard for a while, known addresses come through', async () => {
    const { port } = await listen({
      ...STRANGERS,
      isKnownAddress: (address) => address === '127.0.0.8',
      limits: { handshakesPerSecond: 5, penaltyMs: 60_000 },
    });
    const tries = await Promise.allSettled(
      Array.from({ length: 7 }, () => visitSecurely(port, { localAddress: '127.0.0.5' } as tls.ConnectionOptions)),
    );
    // A fifth of them is kept for known addresses.
    expect(tries.filter((one) => one.status === 'fulfilled').length).toBeLessThan(7);
    const penalised = await connected(port, '127.0.0.5');
    penalised.socket.write(GET);
    expect(await penalised.over).toBe('');
    const known = await visitSecurely(port, { localAddress: '127.0.0.8' } as tls.ConnectionOptions);
    known.socket.write(GET);
    expect(await known.over).toContain('ok');
  });

  it('treats a connection without an address as a stranger, whatever it says', async () => {
    const client = await newIdentity();
    const seen: SocketFacts[] = [];
    const { listener } = await listen({ isLoopback: () => true }, (request, response) => {
      seen.push(socketFacts(request.socket));
      response.end('ok');
    });
    const [plainEnd, plainServer] = duplexes();
    listener.accept(plainServer);
    plainEnd.write(GET);
    plainEnd.resume();
    await new Promise((resolve) => plainEnd.once('end', resolve));
    const [tlsEnd, tlsServer] = duplexes();
    listener.accept(tlsServer);
    const secured = tls.connect({ socket: tlsEnd, rejectUnauthorized: false, ...client });
    secured.write(GET);
    secured.resume();
    await new Promise((resolve) => secured.once('end', resolve));
    expect(seen).toMatchObject([
      { tls: false, loopback: false, remoteAddress: undefined },
      { tls: true, loopback: false, remoteAddress: undefined },
    ]);
    expect(seen[1]?.certificate).toBeDefined();
  });
});

describe('ConnectionBounds', () => {
  const LAN = { address: '10.0.0.9', loopback: false };
  const from = (address: string): { address: string; loopback: boolean } => ({ address, loopback: false });
  const bounds = (limits = {}): { clock: FakeClock; bounds: ConnectionBounds } => {
    const clock = new FakeClock();
    return {
      clock,
      bounds: new ConnectionBounds({ ...CONNECTION_LIMITS, ...limits }, clock, (ip) => ip === '10.0.0.1'),
    };
  };

  it('gives a seat back for good', () => {
    const { bounds: door } = bounds({ perStranger: 1 });
    const seat = door.admit(LAN);
    expect(door.admit(LAN)).toBeUndefined();
    if (seat !== undefined) door.leave(seat);
    if (seat !== undefined) door.leave(seat);
    expect(door.admit(LAN)).toBeDefined();
    expect(door.admit(LAN)).toBeUndefined();
  });

  it('lets 40 strange handshakes and 10 more of known addresses begin in one second', () => {
    const { clock, bounds: door } = bounds();
    const strange = Array.from({ length: 60 }, (_, i) => door.mayHandshake(from(`10.0.1.${i}`)));
    expect(strange.filter(Boolean)).toHaveLength(40);
    const known = Array.from({ length: 60 }, () => door.mayHandshake(from('10.0.0.1')));
    expect(known.filter(Boolean)).toHaveLength(10);
    clock.advance(500);
    expect(Array.from({ length: 60 }, () => door.mayHandshake(from('10.0.0.1'))).filter(Boolean)).toHaveLength(25);
  });

  it('forgets a penalty after its time, and never gives one to a known address', () => {
    const { clock, bounds: door } = bounds({ handshakesPerSecond: 1 });
    expect(door.mayHandshake(LAN)).toBe(true);
    expect(door.mayHandshake(LAN)).toBe(false);
    expect(door.mayHandshake(from('10.0.0.1'))).toBe(false);
    expect(door.admit(LAN)).toBeUndefined();
    expect(door.admit(from('10.0.0.1'))).toBeDefined();
    clock.advance(10_000);
    expect(door.admit(LAN)).toBeDefined();
  });

  it('remembers a bounded number of penalties: the oldest go', () => {
    const { bounds: door } = bounds({ handshakesPerSecond: 1, penaltyBox: 2 });
    for (const end of [1, 2, 3, 4]) door.mayHandshake(from(`10.0.2.${end}`));
    expect(door.admit(from('10.0.2.2'))).toBeDefined();
    expect(door.admit(from('10.0.2.3'))).toBeUndefined();
    expect(door.admit(from('10.0.2.4'))).toBeUndefined();
  });
});
