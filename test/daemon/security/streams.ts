import http from 'node:http';
import type { Duplex } from 'node:stream';

import { BASE_PATH } from '../../../src/protocol/version.ts';
import { type Asking, connect } from '../../helpers/ask.ts';
import type { InProcessNode } from '../../helpers/in-process-node.ts';

/** An open stream of a run, or of a transfer, as its reader sees it. */
export interface OpenStream {
  readonly jobId: string;
  readonly socket: Duplex;
  /** All that came so far. */
  readonly text: () => string;
  /** When it ended, on the monotonic clock; whether in order or cut. */
  readonly over: Promise<number>;
  /** Resolves when so much has come behind what is there now. */
  readonly more: (text: string) => Promise<void>;
}

/** A line every 50 ms, for as long as it lives. */
export const TICKS = { command: 'while :; do echo tick; sleep 0.05; done', shell: true } as const;
/** Takes no notice of being asked to end, and says so. */
export const DEAF = { command: 'trap "" TERM INT HUP; echo deaf; sleep 60 & wait; wait', shell: true } as const;
/** Says nothing, for as long as it lives. */
const SLEEP = { command: 'sleep', args: ['60'] } as const;

/** Starts a run and follows it; resolves when the stream has begun. */
export const openStream = async (
  node: Pick<InProcessNode, 'port'>,
  who: Partial<Asking>,
  { input = SLEEP, query = '', path = '/execute/stream' }: { input?: object; query?: string; path?: string } = {},
): Promise<OpenStream> => {
  const socket = await connect(node.port, who);
  const body = JSON.stringify(input);
  const headers = {
    host: `127.0.0.1:${node.port}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(who.key === undefined ? {} : { authorization: `Bearer ${who.key}` }),
  };
  let text = '';
  const waits = new Set<() => void>();
  const over = new Promise<number>((resolve) => socket.once('close', () => resolve(performance.now())));
  const request = http.request({
    createConnection: () => socket,
    method: 'POST',
    path: `${BASE_PATH}${path}${query}`,
    headers,
  });
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', resolve);
    request.end(body);
  });
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
    for (const wake of waits) wake();
  });
  const ended = new Promise<number>((resolve) => response.once('close', () => resolve(performance.now())));
  const more = (wanted: string): Promise<void> => {
    const from = text.length;
    return new Promise((resolve) => {
      const look = (): void => {
        if (!text.includes(wanted, from)) return;
        waits.delete(look);
        resolve();
      };
      waits.add(look);
    });
  };
  if (response.statusCode !== 200) throw new Error(`no stream: ${response.statusCode}`);
  return {
    jobId: String(response.headers['loopsy-object']),
    socket,
    text: () => text,
    over: Promise.race([over, ended]),
    more,
  };
};
