// The stores that the context is measured beside, each in a process of its own on loopback.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Dialect, lineEnd } from './lanes.ts';

/** A server of somebody else's. */
export interface Server {
  readonly dialect: Dialect;
  stop(): Promise<void>;
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
};

const isUp = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

/** Starts a program; undefined where it is not installed. */
const start = async (
  command: string,
  args: (folder: string, port: number) => readonly string[],
): Promise<{ port: number; stop: () => Promise<void> } | undefined> => {
  const folder = mkdtempSync(join(tmpdir(), 'loopsy-bench-store-'));
  const port = await freePort();
  const child: ChildProcess = spawn(command, args(folder, port), { stdio: 'ignore', cwd: folder });
  const isMissing = await Promise.race([once(child, 'error').then(() => true), once(child, 'spawn').then(() => false)]);
  if (isMissing) return undefined;
  for (let tries = 0; tries < 100 && !(await isUp(port)); tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 50));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(folder, { recursive: true, force: true });
  };
  return { port, stop };
};

/** redis, that writes and flushes each change before it answers. */
export const startRedis = async (value: string, nextKey: () => string): Promise<Server | undefined> => {
  const server = await start('redis-server', (folder, port) => [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
  ]);
  if (server === undefined) return undefined;
  const request = (): string => {
    const key = nextKey();
    return `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`;
  };
  return { dialect: { port: server.port, request, answerEnd: lineEnd }, stop: server.stop };
};

/** A bucket of the key-value store of NATS, at its defaults: it does not flush each change. */
export const startNats = async (value: string, nextKey: () => string): Promise<Server | undefined> => {
  const server = await start('nats-server', (folder, port) => [
    '-a',
    '127.0.0.1',
    '-p',
    String(port),
    '-js',
    '-sd',
    folder,
  ]);
  if (server === undefined) return undefined;
  const stream = JSON.stringify({
    name: 'KV_bench',
    subjects: ['$KV.bench.>'],
    retention: 'limits',
    storage: 'file',
    max_msgs_per_subject: 1,
    discard: 'new',
    allow_rollup_hdrs: true,
    deny_delete: true,
    num_replicas: 1,
  });
  let lanes = 0;
  /** Each connection has an inbox of its own. */
  const dialect = (): Dialect => {
    lanes += 1;
    const inbox = `_INBOX.bench${lanes}`;
    return {
      port: server.port,
      hello: {
        bytes: `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\nSUB ${inbox} 1\r\nPING\r\n`,
        answers: 2,
      },
      request: () => `PUB $KV.bench.${nextKey().replaceAll('/', '.')} ${inbox} ${value.length}\r\n${value}\r\n`,
      answerEnd: natsEnd,
    };
  };
  await makeStream(server.port, stream);
  return {
    get dialect() {
      return dialect();
    },
    stop: server.stop,
  };
};

const makeStream = async (port: number, stream: string): Promise<void> => {
  const socket = net.connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
  socket.write(
    `CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.make 1\r\nPUB $JS.API.STREAM.CREATE.KV_bench _INBOX.make ${stream.length}\r\n${stream}\r\n`,
  );
  for (let tries = 0; tries < 100 && !text.includes('MSG '); tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 20));
  if (!text.includes('"created"')) throw new Error(`NATS has made no bucket: ${text.slice(0, 500)}`);
  socket.destroy();
};

/**
 * INFO, PONG, or an acknowledgement with its payload; the server's own question whether somebody is there lies between
 * them. @throws for anything else: it would be counted as an answer.
 */
const natsEnd = (bytes: Buffer): number => {
  const end = bytes.indexOf('\r\n');
  if (end < 0) return 0;
  const line = bytes.toString('latin1', 0, end);
  if (line === 'PING') {
    const behind = natsEnd(bytes.subarray(end + 2));
    return behind === 0 ? 0 : end + 2 + behind;
  }
  if (/^(?:INFO |PONG$)/.test(line)) return end + 2;
  const [, length] = /^MSG _INBOX\.bench\d+ .*?(\d+)$/.exec(line) ?? [];
  if (length === undefined) throw new Error(line);
  const whole = end + 2 + Number(length) + 2;
  if (bytes.length < whole) return 0;
  const payload = bytes.toString('latin1', end + 2, whole - 2);
  if (!payload.includes('"seq"')) throw new Error(payload);
  return whole;
};
