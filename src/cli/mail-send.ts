import { sleep } from '../kernel/sleep.ts';
import { EXIT, LoopsyError } from '../protocol/errors.ts';
import { addressParts } from '../protocol/mail.ts';
import type { Message } from '../protocol/messages.ts';
import type { InputOf, OutputOf } from '../protocol/operations.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { againWords, plain } from './output.ts';

/** An online peer answers within that: what became of the message is said at once. */
const LOOKS_MS = [20, 80, 200, 400];

type Input = InputOf<'message.send'>;
type Sent = OutputOf<'message.send'>;

/** What is said of a message, and what a command that sent nothing else ends with. */
interface Outcome {
  readonly words: string;
  readonly code: number;
}

/** Sends a message. @returns the exit code: 1 where it is known by now that it does not arrive. */
export const sendOne = async (cli: Cli, input: Input): Promise<number> => {
  const { out } = cli;
  const node = await cli.node();
  const sent = await node.client.call('message.send', input);
  if (out.json) {
    out.document(sent);
    return EXIT.ok;
  }
  const { words, code } = await outcomeOf(sent, { cli, node, input });
  out.print(words);
  return code;
};

/** Sends a message to each peer. @returns the exit code: 0 where none of them is known not to get it. */
export const sendAll = async (cli: Cli, input: Omit<Input, 'to'>): Promise<number> => {
  const { out } = cli;
  const node = await cli.node();
  const { addresses } = await node.client.call('message.addresses', {});
  const peers = addresses.filter(({ status }) => status !== 'here');
  const results = await Promise.all(peers.map(({ address }) => sendTo(address, { cli, node, input })));
  if (out.json) out.document({ results: results.map(({ result }) => result) });
  else if (results.length === 0) out.print('There is no peer to write to. `loopsy pair` finds the first one.');
  else out.print(...results.map(({ words }) => words));
  return results.length > 0 && results.every(({ code }) => code === EXIT.ok) ? EXIT.ok : EXIT.failed;
};

interface Sending {
  readonly cli: Cli;
  readonly node: LocalNode;
  readonly input: Omit<Input, 'to'>;
}

const sendTo = async (peer: string, sending: Sending): Promise<Outcome & { readonly result: object }> => {
  const { cli, node, input } = sending;
  try {
    const sent = await node.client.call('message.send', { type: 'broadcast', ...input, to: peer });
    const outcome = cli.out.json ? { words: '', code: EXIT.ok } : await outcomeOf(sent, sending);
    return { result: { peer, sent }, ...outcome };
  } catch (thrown) {
    if (!(thrown instanceof LoopsyError)) throw thrown;
    const why = [thrown.message, ...againWords(thrown.details)].map(plain).join('; ');
    const result = { peer, error: thrown.toBody().error };
    return { result, words: `Not sent to ${plain(peer)}: ${why}`, code: EXIT.failed };
  }
};

/** What has become of it by now: most often it is there. */
const stateSoon = async ({ id, state }: Sent, { cli, node, input }: Sending): Promise<Message | undefined> => {
  if (state !== 'queued') return undefined;
  const as = input.as === undefined ? {} : { as: input.as };
  for (const ms of LOOKS_MS) {
    await sleep(ms, cli.io.clock);
    const message = await ifAnswered(node.client.call('message.show', { id, ...as }));
    if (message?.state !== 'queued') return message;
  }
  return undefined;
};

const outcomeOf = async (sent: Sent, sending: Sending): Promise<Outcome> => {
  const later = await stateSoon(sent, sending);
  const is = later?.state ?? sent.state;
  const note = later?.history.at(-1)?.note;
  const [id, to] = [sent.id, plain(sent.to)];
  switch (is) {
    case 'queued': {
      const tried = `not handed over yet; it is tried again until ${to} has it`;
      const away = `it goes when ${to} is there`;
      const isOnline = await isOnlineNow(sent, sending.node);
      const words = isOnline === undefined ? UNKNOWN : isOnline ? tried : away;
      return { words: `Queued for ${to}: ${words} (${id}).`, code: EXIT.ok };
    }
    case 'refused':
    case 'expired':
    case 'cancelled':
      return { words: `Not delivered to ${to}: ${plain(note ?? is)} (${id}).`, code: EXIT.failed };
    default:
      return { words: `Delivered to ${to} (${id}).`, code: EXIT.ok };
  }
};

const UNKNOWN = 'this node does not say more now; it goes when both are there';

/** What was accepted lies on this node's disk: that the node has gone since then is no reason to say that it wasn't. */
const ifAnswered = async <Answer>(asking: Promise<Answer>): Promise<Answer | undefined> => {
  try {
    return await asking;
  } catch (thrown) {
    if (thrown instanceof LoopsyError) return undefined;
    throw thrown;
  }
};

/** As far as is known: what has just gone is online for a moment yet. Undefined where the node does not answer. */
const isOnlineNow = async ({ to }: Sent, { client }: LocalNode): Promise<boolean | undefined> => {
  const answer = await ifAnswered(client.call('message.addresses', {}));
  return answer?.addresses.some(({ address, status }) => address === addressParts(to).node && status === 'online');
};
