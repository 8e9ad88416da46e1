import { createHash } from 'node:crypto';

import { createClient, type Client } from '../../src/client/client.ts';
import { fetchTransport } from '../../src/client/fetch-transport.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import type { Machine } from './nodes.ts';
import { Relay } from './relay.ts';

/** The typed client of a machine's node, as its owner. */
export const clientOf = async (machine: Machine): Promise<Client> => {
  const { url, token } = await machine.registration();
  return createClient({ transport: fetchTransport({ fetch, baseUrl: url, token }) });
};

/** Connects two machines, each reaching the other through a relay alone. */
export const connectThroughRelays = async (
  a: Machine,
  b: Machine,
  seed: number,
): Promise<{ toA: Relay; toB: Relay; close: () => Promise<void> }> => {
  const facts = (machine: Machine): Promise<{ fingerprint: string; port: number }> => machine.json(['status']);
  const [ofA, ofB] = [await facts(a), await facts(b)];
  const toB = await Relay.open({ port: ofB.port, from: '127.0.0.77', seed });
  const toA = await Relay.open({ port: ofA.port, from: '127.0.0.78', seed: seed + 1 });
  await a.json(['connect', `127.0.0.1:${toB.port}`, '--fingerprint', ofB.fingerprint, '--yes']);
  await b.json(['connect', `127.0.0.1:${toA.port}`, '--fingerprint', ofA.fingerprint, '--yes']);
  return {
    toA,
    toB,
    close: async () => {
      await toA.close();
      await toB.close();
    },
  };
};

/** What a reader of a run's stream got. */
export interface Read {
  bytes: number;
  hash: string;
  gaps: number;
  exit: Record<string, unknown>;
}

/** Reads a stream to its end. */
export const readRun = async (pieces: AsyncIterable<{ type: number; bytes: Uint8Array }>): Promise<Read> => {
  const hash = createHash('sha256');
  const read: Read = { bytes: 0, hash: '', gaps: 0, exit: {} };
  for await (const { type, bytes } of pieces) {
    if (type === FRAME.gap) read.gaps += 1;
    if (type === FRAME.exit) read.exit = JSON.parse(Buffer.from(bytes).toString());
    if (type !== FRAME.stdout) continue;
    hash.update(bytes);
    read.bytes += bytes.length;
  }
  return { ...read, hash: hash.digest('hex') };
};

/** The hash of what the fixture program `pattern` writes. */
export const patternHash = (length: number): string => {
  const block = Buffer.from(Array.from({ length: 65_521 }, (_, at) => at % 251));
  const hash = createHash('sha256');
  for (let left = length; left > 0; left -= block.length) hash.update(block.subarray(0, Math.min(left, block.length)));
  return hash.digest('hex');
};
