import { once } from 'node:events';
import type tls from 'node:tls';

import { describe, expect, it } from 'vitest';

import type { SocketFacts } from '../../../src/daemon/edge/connection.ts';
import { type ListenerOptions, promote, socketFacts } from '../../../src/daemon/edge/listener.ts';
import { GET, listen, newIdentity, timed, visit, visitSecurely } from './listening.ts';
import { verifies } from '../../requirements.ts';

const factsOf = async (
  options: Partial<ListenerOptions>,
  come: (port: number) => Promise<void>,
): Promise<SocketFacts[]> => {
  const seen: SocketFacts[] = [];
  const { port, stop } = await listen(options, (request, response) => {
    seen.push(socketFacts(request.socket));
    response.end('ok');
  });
  await come(port);
  await stop();
  return seen;
};

describe('one port', () => {
  it(verifies('edge.one-port', 'speaks TLS 1.3 and plain HTTP on the same port'), async () => {
    const client = await newIdentity();
    const [plain, secure, certified] = await factsOf({}, async (port) => {
      const first = visit(port);
      first.socket.write(GET);
      await first.until('ok');
      const second = await visitSecurely(port);
      expect((second.socket as tls.TLSSocket).getProtocol()).toBe('TLSv1.3');
      second.socket.write(GET);
      await second.until('ok');
      const third = await visitSecurely(port, client);
      third.socket.write(GET);
      await third.until('ok');
    });
    expect(plain).toMatchObject({ tls: false, loopback: true, remoteAddress: '127.0.0.1', certificate: undefined });
    expect(secure).toMatchObject({ tls: true, loopback: true, certificate: undefined, leaf: undefined });
    expect(certified?.certificate?.toString().replaceAll('\n', '')).toBe(client.cert.replaceAll('\n', ''));
    expect(certified?.leaf?.length).toBe(certified?.certificate?.raw.length);
  });

  it('refuses TLS 1.2', async () => {
    const { port } = await listen({});
    await expect(visitSecurely(port, { maxVersion: 'TLSv1.2' })).rejects.toThrow('no handshake');
  });

  it('never resumes a TLS session', async () => {
    const { port } = await listen({});
    let session: Buffer | undefined;
    const first = await visitSecurely(port);
    first.socket.on('session', (given: Buffer) => (session = given));
    first.socket.write(GET);
    await first.until('ok');
    first.socket.destroy();
    session ??= (first.socket as tls.TLSSocket).getSession();
    const second = await visitSecurely(port, session === undefined ? {} : { session });
    second.socket.write(GET);
    await second.until('ok');
    expect((second.socket as tls.TLSSocket).isSessionReused()).toBe(false);
  });

  it('closes within 100 ms with idle keep-alive connections of both kinds open', async () => {
    const { port, stop, listener } = await listen({});
    const idle = [visit(port), await visitSecurely(port), visit(port)];
    for (const coming of idle.slice(0, 2)) {
      coming.socket.write(GET);
      await coming.until('ok');
    }
    expect(listener.size).toBe(3);
    expect(await timed(stop())).toBeLessThan(100);
    await Promise.all(idle.map((coming) => coming.over));
  });

  it('lets an open request end before it closes, and cuts it after the drain time', async () => {
    let answer: (() => void) | undefined;
    const { port, stop } = await listen({ limits: { drainMs: 5000 } }, (_request, response) => {
      answer = () => response.end('late');
      response.write('early');
    });
    const coming = visit(port);
    coming.socket.write(GET);
    await coming.until('early');
    const stopped = stop();
    answer?.();
    expect(await coming.over).toContain('late');
    await stopped;

    const other = await listen({ limits: { drainMs: 50 } }, (_request, response) => void response.write('early'));
    const cut = visit(other.port);
    cut.socket.write(GET);
    await cut.until('early');
    expect(await timed(other.stop())).toBeLessThan(1000);
  });

  it('destroys the sockets of one caller and of no other', async () => {
    const { port, listener } = await listen({}, (request, response) => {
      promote(request.socket, request.headers['x-caller'] as string);
      response.end('ok');
    });
    const comings = ['peer:a', 'peer:b', 'peer:a'].map((caller) => {
      const coming = visit(port);
      coming.socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Caller: ${caller}\r\n\r\n`);
      return coming;
    });
    await Promise.all(comings.map((coming) => coming.until('ok')));
    expect(listener.destroySockets((_facts, caller) => caller === 'peer:a')).toBe(2);
    await Promise.all([comings[0]?.over, comings[2]?.over]);
    expect(listener.size).toBe(1);
    expect(comings[1]?.socket.destroyed).toBe(false);
  });

  it('can destroy those alone whose other end takes nothing', async () => {
    const { port, listener } = await listen({}, (request, response) => {
      promote(request.socket, 'peer:a');
      if (request.url === '/') return response.write('waiting');
      return response.write(Buffer.alloc(50_000_000));
    });
    const reading = await visitSecurely(port);
    reading.socket.write(GET);
    await reading.until('waiting');
    const paused = await visitSecurely(port);
    paused.socket.write(GET.replace('/', '/much'));
    await once(paused.socket, 'data');
    paused.socket.pause();
    expect(listener.destroySockets((_facts, caller) => caller === 'peer:b', { only: 'stalled' })).toBe(0);
    expect(listener.destroySockets((_facts, caller) => caller === 'peer:a', { only: 'stalled' })).toBe(1);
    await expect.poll(() => listener.size).toBe(1);
    expect(reading.socket.destroyed).toBe(false);
    paused.socket.resume();
    await paused.over;
  });

  it('shows a renewed certificate to new connections', async () => {
    const { port, listener } = await listen({});
    const renewed = await newIdentity();
    listener.setIdentity(renewed);
    const coming = await visitSecurely(port);
    const shown = (coming.socket as tls.TLSSocket).getPeerX509Certificate()?.toString();
    expect(shown?.replaceAll('\n', '')).toBe(renewed.cert.replaceAll('\n', ''));
  });
});
