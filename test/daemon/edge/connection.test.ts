import { describe, expect, it } from 'vitest';

import { allowIdleBody } from '../../../src/daemon/edge/listener.ts';
import { GET, listen, timed, visit, visitSecurely } from './listening.ts';

describe('time limits', () => {
  const BRIEF = { firstByteMs: 150, handshakeMs: 150, headMs: 150, bodyIdleMs: 150 };
  const cutIn = async (over: Promise<string>): Promise<void> => {
    const tookMs = await timed(over);
    expect(tookMs).toBeGreaterThan(60);
    expect(tookMs).toBeLessThan(1500);
  };

  it('cuts a connection that says nothing', async () => {
    const { port } = await listen({ limits: BRIEF });
    await cutIn(visit(port).over);
  });

  it('cuts half a hello', async () => {
    const { port } = await listen({ limits: BRIEF });
    const coming = visit(port);
    coming.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    await cutIn(coming.over);
  });

  it('cuts a hello that drips', async () => {
    const { port } = await listen({ limits: BRIEF });
    const coming = visit(port);
    coming.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    const drip = setInterval(() => coming.socket.write(Buffer.from([0])), 20);
    await cutIn(coming.over);
    clearInterval(drip);
  });

  it('cuts silence after TLS', async () => {
    const { port } = await listen({ limits: BRIEF });
    await cutIn((await visitSecurely(port)).over);
  });

  it('cuts half a head, over plain HTTP and over TLS', async () => {
    const { port } = await listen({ limits: BRIEF });
    for (const come of [visit, visitSecurely]) {
      const coming = await come(port);
      coming.socket.write('GET / HTTP/1.1\r\nHost: loc');
      await cutIn(coming.over);
    }
  });

  it('cuts a slowloris: a head that drips for ever', async () => {
    const { port } = await listen({ limits: BRIEF });
    for (const come of [visit, visitSecurely]) {
      const coming = await come(port);
      coming.socket.write('GET / HTTP/1.1\r\n');
      const drip = setInterval(() => coming.socket.write('X-A: b\r\n'), 20);
      await cutIn(coming.over);
      clearInterval(drip);
    }
  });

  it('cuts half a second head on a connection that was served', async () => {
    const { port } = await listen({ limits: BRIEF });
    const coming = visit(port);
    coming.socket.write(GET);
    await coming.until('ok');
    coming.socket.write('GET / HT');
    await cutIn(coming.over);
  });

  it('cuts half a body, of stated length and chunked', async () => {
    const { port } = await listen({ limits: BRIEF });
    const heads = ['Content-Length: 100\r\n\r\nhalf', 'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'];
    for (const head of heads) {
      for (const come of [visit, visitSecurely]) {
        const coming = await come(port);
        coming.socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\n${head}`);
        await cutIn(coming.over);
      }
    }
  });

  it('keeps a body that goes on slowly, one that the app does not read, and one that may pause', async () => {
    let release: (() => void) | undefined;
    const { port } = await listen({ limits: BRIEF }, (request, response) => {
      if (request.url === '/patient') allowIdleBody(request);
      const read = (): void => void request.resume().once('end', () => response.end('ok'));
      if (request.url === '/unread') release = read;
      else read();
    });
    const post = (path: string): ReturnType<typeof visit> => {
      const coming = visit(port);
      coming.socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n`);
      return coming;
    };
    const slow = post('/slow');
    const unread = post('/unread');
    const patient = post('/patient');
    unread.socket.write('x'.repeat(19));
    for (let i = 0; i < 10; i += 1) {
      slow.socket.write('ab');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await slow.until('ok');
    patient.socket.write('x'.repeat(20));
    await patient.until('ok');
    release?.();
    unread.socket.write('x');
    await unread.until('ok');
  });

  it('ends a connection that rests too long between requests', async () => {
    const { port } = await listen({ limits: { restMs: 150 } });
    const coming = visit(port);
    coming.socket.write(GET);
    await coming.until('ok');
    await cutIn(coming.over);
  });

  it('survives bytes that are neither TLS nor HTTP', async () => {
    const { port } = await listen({});
    for (const junk of ['\x00\x01\x02', '\x16\x00junkjunkjunk', 'NOT HTTP AT ALL\r\n\r\n']) {
      const coming = visit(port);
      coming.socket.write(Buffer.from(junk, 'latin1'));
      await coming.over;
    }
    const good = visit(port);
    good.socket.write(GET);
    await good.until('ok');
  });
});
