import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

import { lineOf, type SupervisorEntry, wireProof } from '../../../src/daemon/jobs/wire.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const SECRET = 'ab'.repeat(32);
const OWN = 'f'.repeat(32);

/** A supervisor that proves itself, and then does what it is told here. @returns how it is found. */
export const startFake = async (id: string, then: (socket: Socket) => void): Promise<SupervisorEntry> => {
  const socket = join(await tempFolder(), 's.sock');
  const server = createServer((visitor) => {
    visitor.on('error', () => undefined);
    visitor.write(lineOf({ wire: 1, nonce: OWN }));
    visitor.once('data', (chunk: Buffer) => {
      const { nonce: theirs } = JSON.parse(chunk.toString()) as { nonce: string };
      visitor.write(lineOf({ wire: 1, version: '2', proof: wireProof(SECRET, 'supervisor', { theirs, own: OWN }) }));
      then(visitor);
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  onTestFinished(() => void server.close());
  return { v: 1, id, pid: process.pid, startedAt: 0, socket, secret: SECRET, version: '2' };
};
