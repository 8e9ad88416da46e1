import { sleep } from '../kernel/sleep.ts';
import type { Message } from '../protocol/messages.ts';
import { Absence } from './absence.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { isAway } from './followed.ts';
import type { MailHand } from './mail-hand.ts';
import { MAX_MAIL_WAIT_MS } from '../protocol/mail.ts';

/** Which messages are wanted, and whether they are taken. */
export interface Wanted {
  readonly filter: { readonly from?: string; readonly as?: string };
  readonly isPeek: boolean;
  /** What takes them; what it has given is shown before the next one is asked for. */
  readonly hand: MailHand;
  /** Monotonic ms; undefined: for ever. */
  readonly endAtMs?: number;
}

/** Where all that was listed went to others, or is over. */
const PAUSE_MS = 250;

/** Each message that comes, until the time is over; over restarts of the node, too. */
export async function* incoming(cli: Cli, { filter, isPeek, hand, endAtMs }: Wanted): AsyncGenerator<Message> {
  const { clock } = cli.io;
  const away = new Absence(cli, 'what comes is waited for again when it is back', cli.out.note);
  const { signal } = hand;
  // What is not taken would be listed again for ever.
  let behind: { readonly after?: string } = isPeek ? { after: '0' } : {};
  let node = await cli.node();
  while (!signal.aborted) {
    const leftMs = endAtMs === undefined ? MAX_MAIL_WAIT_MS : Math.ceil(endAtMs - clock.monotonicMs());
    if (leftMs <= 0) return;
    try {
      const timeoutMs = Math.min(MAX_MAIL_WAIT_MS, leftMs);
      const asked = { timeoutMs, ...behind, ...filter };
      const { messages, cursor } = await node.client.call('message.wait', asked, { signal });
      away.over();
      let given = 0;
      for (const one of messages) {
        if (signal.aborted) return;
        const message = isPeek ? one : await hand.take(node, { id: one.id, ...asOf(filter) });
        if (message === undefined) continue;
        given += 1;
        yield message;
      }
      if (messages.length > 0 && given === 0) await sleep(Math.min(PAUSE_MS, leftMs), clock);
      if (isPeek && cursor !== undefined) behind = { after: cursor };
    } catch (thrown) {
      if (signal.aborted) return;
      if (!isAway(thrown)) throw thrown;
      const back = await away.wait({ signal, why: thrown, endAtMs }).catch((why: unknown) => {
        if (signal.aborted || (endAtMs !== undefined && clock.monotonicMs() >= endAtMs)) return undefined;
        throw why;
      });
      if (back === undefined) return;
      node = back;
    }
  }
}

const asOf = ({ as }: Wanted['filter']): { as?: string } => (as === undefined ? {} : { as });

/** Asks the node for something, over restarts of it. @throws where it takes too long, or a signal has come. */
export const overRestarts = async <Answer>(
  cli: Cli,
  { note, signal }: { readonly note: string; readonly signal: AbortSignal },
  ask: (node: LocalNode) => Promise<Answer>,
): Promise<Answer> => {
  const away = new Absence(cli, note, cli.out.note);
  for (;;)
    try {
      return await ask(await cli.node());
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
      await away.wait({ signal, why: thrown });
    }
};
