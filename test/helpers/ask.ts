import http from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';

import { BASE_PATH } from '../../src/protocol/version.ts';
import { toPem } from '../../src/trust/certificates.ts';
import type { TestMachine } from './trust-desk.ts';

/** A certificate and its key, PEM. */
export interface Shown {
  readonly key: string;
  readonly cert: string;
}

/** One request to a node, in every way that somebody may try it. */
export interface Asking {
  readonly method?: string;
  /** Below the base path; what begins with `//` is taken as it is, without its first slash. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: http.OutgoingHttpHeaders;
  /** Bearer. */
  readonly key?: string | undefined;
  /** Over TLS, with this certificate or with none. */
  readonly tls?: Shown | 'no certificate';
  /** The address it comes from. */
  readonly from?: string;
  /** The address it goes to. Default 127.0.0.1. */
  readonly to?: string;
  /** Instead of a socket of its own. */
  readonly over?: Duplex;
  /** Ends the answer once its head is there: for streams. */
  readonly headOnly?: boolean;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** The name of its error, or `allowed`. */
  readonly outcome: string;
}

/** What a machine of a test shows on a link. */
export const shownBy = ({ key, certificate }: Pick<TestMachine, 'key' | 'certificate'>): Shown => ({
  key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  cert: toPem(certificate),
});

/** Opens a connection as the request wants it; TLS has shaken hands. */
export const connect = async (
  port: number,
  { tls: shown, from, to = '127.0.0.1', over }: Omit<Asking, 'path'>,
): Promise<Duplex> => {
  const plain = over ?? net.connect({ port, host: to, ...(from === undefined ? {} : { localAddress: from }) });
  if (shown === undefined) return plain;
  const certificate = shown === 'no certificate' ? {} : shown;
  const secure = tls.connect({ socket: plain, rejectUnauthorized: false, ...certificate });
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
    secure.once('close', () => reject(new Error('closed in the handshake')));
  });
  return secure;
};

/** The name of an answer's error, or `allowed`. */
export const outcomeOf = (status: number, text: string): string => {
  if (status < 400) return 'allowed';
  const body: unknown = JSON.parse(text);
  // The one shape of errors; where it is another, the test that compares says so.
  return (body as { error: { name: string } }).error.name;
};

/** Sends a request on a connection and reads its answer. */
export const askOn = (connection: Duplex, port: number, asking: Asking): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', path, body, headers = {}, key, to = '127.0.0.1', headOnly = false } = asking;
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const request = http.request({
      createConnection: () => connection,
      method,
      path: path.startsWith('//') ? path.slice(1) : `${BASE_PATH}${path}`,
      headers: {
        host: `${to.includes(':') ? `[${to}]` : to}:${port}`,
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        ...headers,
      },
    });
    request.on('error', reject);
    request.once('response', (response) => {
      const { statusCode: status = 0 } = response;
      if (headOnly && status === 200) {
        resolve({ status, headers: response.headers, text: '', outcome: 'allowed' });
        request.destroy();
        return;
      }
      let got = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (got += chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status, headers: response.headers, text: got, outcome: outcomeOf(status, got) }),
      );
    });
    request.end(text);
  });

/** Connects, sends one request, reads its answer, and leaves. */
export const ask = async (port: number, asking: Asking): Promise<Answer> => {
  const connection = await connect(port, asking);
  try {
    return await askOn(connection, port, asking);
  } finally {
    connection.destroy();
  }
};
