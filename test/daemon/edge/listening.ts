import { generateKeyPairSync, type X509Certificate } from 'node:crypto';
import type http from 'node:http';
import net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';

import { onTestFinished } from 'vitest';

import { systemClock } from '../../../src/kernel/clock.ts';
import type { Log } from '../../../src/kernel/log.ts';
import { isLoopback } from '../../../src/trust/loopback.ts';
import { buildMachineCertificate, toPem } from '../../../src/trust/certificates.ts';
import { bindAddresses } from '../../../src/daemon/edge/bind-addresses.ts';
import { Listener, type ListenerOptions } from '../../../src/daemon/edge/listener.ts';
import type { TlsIdentity } from '../../../src/daemon/edge/secure-server.ts';

/** The shortest request. */
export const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

export const newIdentity = async (): Promise<TlsIdentity> => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: toPem(await buildMachineCertificate(privateKey)),
  };
};

export interface Listening {
  readonly listener: Listener;
  readonly port: number;
  /** At the end of the test at the latest. */
  readonly stop: () => Promise<void>;
}

/** A listener on a free port of 127.0.0.1 with short limits; `handler` answers. */
export const listen = async (
  options: Partial<ListenerOptions>,
  handler: http.RequestListener = (request, response) => {
    request.resume();
    request.once('end', () => response.end('ok'));
  },
): Promise<Listening> => {
  const listener = new Listener({
    bindings: bindAddresses('127.0.0.1', true),
    port: 0,
    identity: options.identity ?? (await newIdentity()),
    isLoopback: (remoteAddress, localAddress) => isLoopback({ remoteAddress, localAddress }),
    isKnownAddress: () => false,
    callerOf: (_certificate: X509Certificate) => undefined,
    clock: systemClock,
    log: silentLog,
    ...options,
    limits: { checkMs: 20, ...options.limits },
  });
  listener.serve(handler);
  await listener.start(new AbortController().signal);
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= listener.stop());
  onTestFinished(stop);
  return { listener, port: listener.port, stop };
};

/** How one connection went. */
export interface Visit {
  readonly socket: net.Socket;
  /** Resolves when the connection is over, with all it brought. */
  readonly over: Promise<string>;
  /** Resolves when so much text has come. */
  until(text: string): Promise<void>;
}

const follow = (socket: net.Socket): Visit => {
  let received = '';
  const waits = new Set<() => void>();
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    for (const wake of waits) wake();
  });
  const over = new Promise<string>((resolve) => socket.once('close', () => resolve(received)));
  const until = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!received.includes(text)) return;
        waits.delete(look);
        resolve();
      };
      waits.add(look);
      socket.once('close', () => reject(new Error(`closed before "${text}", after "${received}"`)));
      look();
    });
  return { socket, over, until };
};

export const visit = (port: number, options: { localAddress?: string; host?: string } = {}): Visit =>
  follow(net.connect({ port, host: '127.0.0.1', ...options }));

/** A TLS connection; resolves after the handshake. */
export const visitSecurely = async (port: number, options: tls.ConnectionOptions = {}): Promise<Visit> => {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  const visited = follow(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('close', () => reject(new Error('no handshake')));
  });
  return visited;
};

/** Ms that `work` took. */
export const timed = async (work: Promise<unknown>): Promise<number> => {
  const begin = performance.now();
  await work;
  return performance.now() - begin;
};

/** Two ends of a connection without addresses. */
export const duplexes = (): [Duplex, Duplex] => {
  const ends: Duplex[] = [];
  const make = (other: () => Duplex | undefined): Duplex =>
    new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        other()?.push(chunk);
        setImmediate(done);
      },
      final: (done) => {
        other()?.push(null);
        done();
      },
    });
  const [near, far] = [make(() => ends[1]), make(() => ends[0])];
  ends.push(near, far);
  return [near, far];
};
