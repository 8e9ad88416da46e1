import { randomBytes } from 'node:crypto';

import type { Message } from '../../protocol/messages.ts';
import { type Bench, mismatch, type SelftestCheck, shortTime } from './check.ts';

const BODY = 'grüße, 東京 👋';
/** For a label of its own that nobody reads there: it is over soon. */
const TTL_S = 10;
const LOOK_MS = 5;

/** A message goes there and is on disk; one to this machine itself is taken and acknowledged, too. */
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
    await reaches(bench, id, 'delivered');
    const deliveredMs = clock.monotonicMs() - begun;
    const figures = { deliveredMs };
    if (peer !== undefined) return { detail: `one delivered in ${shortTime(deliveredMs)}`, figures };
    await isTaken(bench, id, label);
    return { detail: `one delivered in ${shortTime(deliveredMs)}, taken and acknowledged`, figures };
  },
};

const isTaken = async (bench: Bench, id: string, label: string): Promise<void> => {
  const { client, signal } = bench;
  const waited = await client.call('message.wait', { as: label, timeoutMs: 0 }, { signal });
  if (!waited.messages.some((message) => message.id === id))
    throw mismatch('a message that was delivered is not there');
  const { body } = await client.call('message.read', { id, as: label }, { signal });
  if (body !== BODY) throw mismatch('what was read is not what was sent');
  await client.call('message.ack', { id, as: label }, { signal });
  await reaches(bench, id, 'acked');
};

/** @throws where it goes another way. */
const reaches = async ({ client, clock, signal }: Bench, id: string, wanted: Message['state']): Promise<void> => {
  for (;;) {
    const { state, history } = await client.call('message.show', { id }, { signal });
    if (state === wanted) return;
    if (state !== 'queued') throw mismatch(`the message is ${state}: ${history.at(-1)?.note ?? 'no reason is given'}`);
    await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
  }
};
