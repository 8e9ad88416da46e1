import { connect, type NetConnectOpts, type Socket } from 'node:net';

import type { NextChunk } from '../kernel/chunks.ts';

const BUFFER_BYTES = 65_536;
/** Chunks that wait to be read before the sender has to. */
const MAX_WAITING = 4;
/** Those that wait, one that is being filled, and the last two that were given out. */
const BUFFERS = MAX_WAITING + 3;

/**
 * A socket, and its chunks as they come, taken no faster than they are asked for, though its end is seen at once. They
 * lie in a few buffers that are used in turn: a chunk is good until the next but one is asked for. (In memory that is
 * new for each chunk the same bytes take three times as long.)
 */
export const connectChunks = (to: NetConnectOpts): { socket: Socket; next: NextChunk } => {
  const ring: Buffer[] = [];
  let at = 0;
  const waiting: Buffer[] = [];
  let failure: Error | undefined;
  let wake = (): void => undefined;
  const socket = connect({
    ...to,
    onread: {
      buffer: () => {
        at = (at + 1) % BUFFERS;
        return (ring[at] ??= Buffer.allocUnsafeSlow(BUFFER_BYTES));
      },
      callback: (bytes, buffer) => {
        // What `buffer` gave out is a Buffer.
        waiting.push((buffer as Buffer).subarray(0, bytes));
        wake();
        return waiting.length < MAX_WAITING;
      },
    },
  });
  socket.on('error', (error) => (failure = error));
  socket.on('close', () => wake());
  const next = async (): Promise<Buffer | undefined> => {
    for (;;) {
      const wasFull = waiting.length >= MAX_WAITING;
      const chunk = waiting.shift();
      if (wasFull) socket.resume();
      if (chunk !== undefined) return chunk;
      if (failure !== undefined) throw failure;
      if (socket.destroyed) return undefined;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { socket, next };
};
