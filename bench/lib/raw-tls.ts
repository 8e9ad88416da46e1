import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';

const PIECE_BYTES = 1_048_576;

/** One stream of node:tls between two processes, with the key and certificate of a machine: what any transfer is bounded by. */
export interface RawTls {
  /** Sends so many bytes, and waits until they have been read. */
  send(bytes: number): Promise<void>;
  stop(): void;
}

/** `tlsDir` has `key.pem` and `cert.pem`. The script that bundles this is started again as the other process. */
export const startRawTls = async (script: string, tlsDir: string): Promise<RawTls> => {
  const child = fork(fileURLToPath(script), [SERVE, tlsDir], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const port = await new Promise<number>((resolve) => child.once('message', (message) => resolve(Number(message))));
  return {
    send: (bytes) =>
      new Promise((resolve, reject) => {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
        const piece = Buffer.alloc(PIECE_BYTES);
        let left = bytes;
        const write = (): void => {
          while (left > 0) {
            left -= PIECE_BYTES;
            if (!socket.write(piece.subarray(0, Math.min(PIECE_BYTES, left + PIECE_BYTES)))) {
              socket.once('drain', write);
              return;
            }
          }
        };
        socket.once('secureConnect', () => {
          socket.write(String(bytes).padStart(HEAD_BYTES));
          write();
        });
        socket.once('data', () => {
          socket.destroy();
          resolve();
        });
        socket.once('error', reject);
      }),
    stop: () => child.kill(),
  };
};

const SERVE = 'serve-raw-tls';
const HEAD_BYTES = 15;

/** Serves, where this process was started for it. @returns false where it was not. */
export const servesRawTls = (): boolean => {
  const [, , what, tlsDir] = process.argv;
  if (what !== SERVE || tlsDir === undefined) return false;
  const pem = (name: string): Buffer => readFileSync(`${tlsDir}/${name}.pem`);
  const server = createServer({ key: pem('key'), cert: pem('cert'), minVersion: 'TLSv1.3' }, (socket) => {
    let seen = 0;
    let wanted = Infinity;
    socket.on('data', (chunk: Buffer) => {
      if (wanted === Infinity) wanted = Number(chunk.toString('latin1', 0, HEAD_BYTES)) + HEAD_BYTES;
      seen += chunk.length;
      if (seen >= wanted) socket.write('.');
    });
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (typeof address === 'object' && address !== null) process.send?.(address.port);
  });
  return true;
};
