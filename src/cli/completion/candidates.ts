import { readRegistration } from '../../config/read-registration.ts';
import { nodePaths, resolveDataDir } from '../../config/paths.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { Client } from '../../client/client.ts';
import type { Io } from '../cli.ts';
import { connectNode } from '../connect.ts';
import { stateWords, whatWords } from '../transfer-words.ts';
import type { Candidate, Source, Wanted } from './wanted.ts';

/** Who types waits no longer than that for the node. */
const ASK_MS = 150;
const MAX_ASKED = 100;

/** A name that stands for itself in every shell. */
const PLAIN_WORD = /^[\w.-]+$/;

/** Everything that may stand there and begins as it is typed; where the node does not answer at once, what is known. */
export const candidatesFor = async (wanted: Wanted, io: Io): Promise<Candidate[]> => {
  const { known, source, typed } = wanted;
  const asked = source === undefined || source === 'files' ? [] : await askInTime(source, wanted, io);
  return [...known, ...asked.filter(({ value }) => PLAIN_WORD.test(value))].filter(({ value }) =>
    value.startsWith(typed),
  );
};

const askInTime = async (source: Exclude<Source, 'files'>, wanted: Wanted, io: Io): Promise<readonly Candidate[]> => {
  const late = sleep(ASK_MS, io.clock).then(() => []);
  return Promise.race([ask(source, wanted, io).catch(() => []), late]);
};

/** Silent whatever goes wrong: an error would stand in the middle of the line. */
const ask = async (
  source: Exclude<Source, 'files'>,
  { dataDir, peer }: Wanted,
  io: Io,
): Promise<readonly Candidate[]> => {
  const registration = readRegistration(nodePaths(resolveDataDir(dataDir, io), io.platform));
  if (registration === undefined) return [];
  const { client } = await connectNode({
    registration,
    apiKey: io.env['LOOPSY_API_KEY'] || undefined,
    note: () => undefined,
  });
  return ASK[source](client, peer);
};

const ASK: Readonly<
  Record<Exclude<Source, 'files'>, (client: Client, peer: string | undefined) => Promise<Candidate[]>>
> = {
  peers: async (client) => {
    const { peers } = await client.call('peer.list', { limit: MAX_ASKED });
    return peers.map(({ name, status, trusted }) => ({ value: name, description: trusted ? status : 'not trusted' }));
  },
  jobs: async (client, peer) => {
    const { jobs } = await client.call('job.list', { state: 'all', limit: MAX_ASKED }, { peer });
    return jobs.map(({ jobId, state, command, args }) => ({
      value: jobId,
      description: `${state}: ${[command, ...args].join(' ').slice(0, 60)}`,
    }));
  },
  transfers: async (client, peer) => {
    const { transfers } = await client.call('transfer.list', { state: 'all', limit: MAX_ASKED }, { peer });
    return transfers.map((transfer) => ({
      value: transfer.transferId,
      description: `${stateWords(transfer)}: ${whatWords(transfer).slice(0, 60)}`,
    }));
  },
  keys: async (client) => {
    const { keys } = await client.call('key.list', { limit: MAX_ASKED });
    return keys.map(({ name, grant }) => ({ value: name, description: grant.level }));
  },
};
