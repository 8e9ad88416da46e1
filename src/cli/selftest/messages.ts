import { randomBytes } from 'node:crypto';

import { sleep } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Bench, mismatch, type SelftestCheck, shortTime } from './check.ts';

const BODY = 'grüße, 東京 👋';
/** For a label of its own: where it can't be taken there, it is over soon. */
const TTL_S = 10;
const LOOK_MS = 5;
/** Takes and acknowledges a message as its owner there does, with the command that came with that node. */
const ACK = `const [dir, id, label] = process.argv.slice(1); const { join, dirname } = require('path');
const { program } = JSON.parse(require('fs').readFileSync(join(dir, 'node.json'), 'utf8'));
const line = [join(dirname(program), '../cli/index.js'), 'message', 'ack', id, '--as', label, '--data-dir', dir];
process.exitCode = require('child_process').spawnSync(process.execPath, line, { stdio: 'ignore' }).status ?? 1;`;

/** A message goes there, is on disk, and is taken and acknowledged: nothing waits, and no letter is dead behind it. */
export const messages: SelftestCheck = {
  name: 'messages',
  run: async (bench) => {
    const { client, peer, clock, signal } = bench;
    const label = `selftest-${randomBytes(4).toString('hex')}`;
    const begun = clock.monotonicMs();
    const { id } = await client.call(
      'message.send',
      { to: `${peer ?? ''}#${label}`, body: BODY, ttl: TTL_S },
      { signal },
    );
    await isDelivered(bench, id);
    const deliveredMs = clock.monotonicMs() - begun;
    const figures = { deliveredMs };
    if (peer !== undefined && !(await isTakenThere(bench, id, label)))
      return { detail: `one delivered in ${shortTime(deliveredMs)}; it expires there in ${TTL_S} s`, figures };
    if (peer === undefined) await isTaken(bench, id, label);
    await reaches(bench, id, 'acked');
    return { detail: `one delivered in ${shortTime(deliveredMs)}, taken and acknowledged`, figures };
  },
};

const isDelivered = async (bench: Bench, id: string): Promise<void> => {
  try {
    await reaches(bench, id, 'delivered');
  } catch (thrown) {
    // What has not left is taken back; what may have is over soon.
    await bench.client.call('message.cancel', { id }).catch(() => undefined);
    throw thrown;
  }
};

/** @returns false where no command of loopsy can be run there. */
const isTakenThere = async ({ client, peer, signal }: Bench, id: string, label: string): Promise<boolean> => {
  try {
    const { dataDir } = await client.call('system.status', {}, { peer, signal });
    const args = ['-e', ACK, dataDir, id, label];
    return (await client.call('job.execute', { command: 'node', args }, { peer, signal })).exitCode === 0;
  } catch (thrown) {
    if (thrown instanceof LoopsyError) return false;
    throw thrown;
  }
};

const isTaken = async (bench: Bench, id: string, label: string): Promise<void> => {
  const { client, signal } = bench;
  const waited = await client.call('message.wait', { as: label, timeoutMs: 0 }, { signal });
  if (!waited.messages.some((message) => message.id === id))
    throw mismatch('a message that was delivered is not there');
  const { body } = await client.call('message.read', { id, as: label }, { signal });
  if (body !== BODY) throw mismatch('what was read is not what was sent');
  await client.call('message.ack', { id, as: label }, { signal });
};

/** What lies before each. */
const BEFORE = { delivered: ['queued'], acked: ['queued', 'delivered', 'read'] } as const;

/** @throws where it goes another way. */
const reaches = async ({ client, clock, signal }: Bench, id: string, wanted: keyof typeof BEFORE): Promise<void> => {
  for (;;) {
    const { state, history } = await client.call('message.show', { id }, { signal });
    if (state === wanted) return;
    if (!BEFORE[wanted].some((before) => before === state))
      throw mismatch(`the message is ${state}: ${history.at(-1)?.note ?? 'no reason is given'}`);
    await sleep(LOOK_MS, clock);
  }
};
