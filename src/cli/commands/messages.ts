import { pagesOf } from '../../client/pages.ts';
import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Message } from '../../protocol/messages.ts';
import type { InputOf } from '../../protocol/operations.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { ttlOf } from '../context-options.ts';
import { isGone, MailHand } from '../mail-hand.ts';
import { MailList, mailText } from '../mail-list.ts';
import { incoming, overRestarts, type Wanted } from '../mail-reader.ts';
import { sendAll, sendOne } from '../mail-send.ts';
import { fullLines, messageRow } from '../mail-words.ts';
import { asError, count, plain, table } from '../output.ts';
import { usageError } from '../parse.ts';
import { readText } from '../read-text.ts';
import { runHook } from '../run-hook.ts';
import { parseSpan } from '../values.ts';

const TEXT = { maxBytes: 262_144, tooMuch: 'a body has at most 256 KiB' };
const TYPES = ['chat', 'request', 'response', 'ack', 'broadcast'] as const;
const LIVES = 'it may wait to be read for messages.ttl of the config: a week, unless that says otherwise';

const bodyOf = async ({ io }: Cli, body: string): Promise<string> => (body === '-' ? readText(io.stdin(), TEXT) : body);

const asOf = ({ invocation }: Cli): { as?: string } => {
  const as = invocation.value('as');
  return as === undefined ? {} : { as };
};

const typeOf = ({ invocation }: Cli): { type?: (typeof TYPES)[number] } => {
  const text = invocation.value('type');
  if (text === undefined) return {};
  const type = TYPES.find((known) => known === text);
  if (type === undefined) throw usageError(`"${text}" is no type of a message`, `use ${TYPES.join(', ')}`);
  return { type };
};

const threadOf = ({ invocation }: Cli): { thread?: string } => {
  const thread = invocation.value('thread');
  return thread === undefined ? {} : { thread };
};

const fromOf = ({ invocation }: Cli): { from?: string } => {
  const from = invocation.value('from');
  return from === undefined ? {} : { from };
};

const send: Command = async (cli) => {
  const { invocation } = cli;
  const { args } = invocation;
  const body = await bodyOf(cli, args.at(-1) ?? '');
  const input = { body, ...typeOf(cli), ...threadOf(cli), ...ttlOf(cli, LIVES), ...asOf(cli) };
  if (invocation.has('all')) return sendAll(cli, input);
  return sendOne(cli, { ...input, to: args[0] ?? '' });
};

const reply: Command = async (cli) => {
  const [replyTo = '', body = ''] = cli.invocation.args;
  return sendOne(cli, { body: await bodyOf(cli, body), replyTo, ...typeOf(cli), ...ttlOf(cli, LIVES), ...asOf(cli) });
};

const inbox: Command = async (cli) => {
  const { invocation, out } = cli;
  if (invocation.has('all')) return listBox(cli, { box: 'inbox' }, 'No message has come yet.');
  const node = await cli.node();
  const input = { unread: 'true', limit: 100, ...fromOf(cli), ...threadOf(cli), ...asOf(cli) } as const;
  const hand = new MailHand(cli);
  const list = new MailList(hand, out);
  try {
    for await (const page of pagesOf(node.client, 'message.list', { input }))
      for (const one of page.messages) {
        if (hand.code !== undefined) return await list.end(hand.code);
        const message = invocation.has('peek') ? one : await hand.take(node, { id: one.id, ...asOf(cli) });
        if (message !== undefined) await list.add(message);
      }
    if (list.isEmpty && hand.code === undefined) out.print(await nothingWords(cli, node));
    return await list.end(hand.code ?? EXIT.ok);
  } catch (thrown) {
    if (list.isEmpty || !out.json) throw thrown;
    return await list.fail(asError(thrown));
  } finally {
    hand.release();
  }
};

const NAMED = 3;

/** What waits for others is named: it may have been meant. Labels are of the senders' choice: a few are enough. */
const nothingWords = async (cli: Cli, { client }: LocalNode): Promise<string> => {
  const { addresses, more } = await client.call('message.addresses', {});
  const others = addresses.filter(
    ({ address, unread = 0 }) => unread > 0 && address.includes('#') && !address.endsWith(`#${asOf(cli).as ?? ''}`),
  );
  if (others.length === 0) return 'Nothing waits to be read.';
  const words = others
    .slice(0, NAMED)
    .map(({ address, unread = 0 }) => `${unread} for ${plain(address.slice(address.indexOf('#')))}`);
  const left = others.length - words.length;
  if (left > 0) words.push(`for ${more === true ? 'more than ' : ''}${left} more: \`loopsy message addresses\``);
  return `Nothing waits to be read here; ${words.join(', ')}.`;
};

const outbox: Command = async (cli) => {
  const { invocation } = cli;
  const dead = invocation.has('dead');
  const waiting = invocation.has('waiting');
  if (dead && waiting) throw usageError('--dead and --waiting leave nothing together');
  const none = dead ? 'No message is dead.' : waiting ? 'Nothing is under way.' : 'Nothing was sent yet.';
  const more = { ...(dead ? { dead: 'true' } : {}), ...(waiting ? { unread: 'true' } : {}) };
  return listBox(cli, { box: 'outbox', ...more }, none);
};

const listBox = async (cli: Cli, which: InputOf<'message.list'>, none: string): Promise<number> => {
  const { out, io } = cli;
  const { client } = await cli.node();
  const input = { limit: 1000, ...which, ...fromOf(cli), ...threadOf(cli), ...asOf(cli) };
  const messages: Message[] = [];
  for await (const page of pagesOf(client, 'message.list', { input })) messages.push(...page.messages);
  const now = io.clock.now();
  if (out.json) out.document({ messages });
  else if (messages.length === 0) out.print(none);
  else {
    const head = ['ID', which.box === 'inbox' ? 'FROM' : 'TO', 'SENT', 'BODY', 'STATE'];
    out.print(...table([head, ...messages.map((message) => messageRow(message, now))], out.paint));
  }
  return EXIT.ok;
};

const ack: Command = async (cli) => {
  const { invocation, out } = cli;
  const [id = ''] = invocation.args;
  const note = invocation.value('note');
  const { client } = await cli.node();
  const message = await client.call('message.ack', { id, ...(note === undefined ? {} : { note }), ...asOf(cli) });
  if (out.json) out.document(message);
  out.print(ackWords(message, note));
  return EXIT.ok;
};

/** Only the first note is kept. */
const ackWords = ({ state, from, history }: Message, note: string | undefined): string => {
  if (state !== 'acked') return `It is ${state} already: ${plain(from)} knows that.`;
  if (history.find((step) => step.state === 'acked')?.note === note) return `Acknowledged to ${plain(from)}.`;
  const lost = note === undefined ? '' : `: ${plain(from)} does not get the new note`;
  return `It was acknowledged already${lost}.`;
};

const wantedOf = (cli: Cli, hand: MailHand): Wanted => {
  const { invocation, io } = cli;
  const timeout = invocation.value('timeout');
  const endAtMs = timeout === undefined ? {} : { endAtMs: io.clock.monotonicMs() + parseSpan(timeout, 'timeout') };
  return { filter: { ...fromOf(cli), ...asOf(cli) }, isPeek: invocation.has('peek'), hand, ...endAtMs };
};

const wait: Command = async (cli) => {
  const hand = new MailHand(cli);
  try {
    for await (const message of incoming(cli, wantedOf(cli, hand))) {
      await hand.show(mailText(message, cli.out));
      return EXIT.ok;
    }
    if (hand.code !== undefined) return hand.code;
    throw new LoopsyError('request_timeout', { message: 'no message came in time' });
  } finally {
    hand.release();
  }
};

const watch: Command = async (cli) => {
  const { invocation, out } = cli;
  const command = invocation.value('exec');
  const hand = new MailHand(cli);
  let isFirst = true;
  try {
    for await (const message of incoming(cli, wantedOf(cli, hand))) {
      await hand.show((isFirst || out.json ? '' : '\n') + mailText(message, out));
      isFirst = false;
      if (command !== undefined) await hook(cli, { command, signal: hand.signal }, message);
    }
    return hand.code ?? EXIT.ok;
  } finally {
    hand.release();
  }
};

/** Runs the command for a message; what went well is acknowledged, over a restart of the node, too. */
const hook = async (
  cli: Cli,
  { command, signal }: { command: string; signal: AbortSignal },
  { id, ...message }: Message,
): Promise<void> => {
  const { out, invocation } = cli;
  const ended = await runHook(command, JSON.stringify({ id, ...message }));
  if (ended !== 0) return out.note(`loopsy: ${plain(command)} ended with ${ended} for ${id}`);
  if (invocation.has('peek')) return undefined;
  try {
    const note = `${id} is acknowledged when it is back`;
    await overRestarts(cli, { note, signal }, ({ client }) => client.call('message.ack', { id, ...asOf(cli) }));
    return undefined;
  } catch (thrown) {
    if (signal.aborted) return out.note(`loopsy: ${id} is not acknowledged: \`loopsy message ack ${id}\` does it`);
    if (!isGone(thrown)) throw thrown;
    return out.note(`loopsy: ${id} can't be acknowledged any more: ${plain(asError(thrown).message)}`);
  }
};

const showOne: Command = async (cli) => {
  const { out, invocation } = cli;
  const [id = ''] = invocation.args;
  const { client } = await cli.node();
  const message = await client.call('message.show', { id, ...asOf(cli) });
  if (out.json) out.document(message);
  out.print(...fullLines(message, out.paint));
  return EXIT.ok;
};

const cancel: Command = async (cli) => {
  const [id = ''] = cli.invocation.args;
  const { client } = await cli.node();
  const message = await client.call('message.cancel', { id, ...asOf(cli) });
  if (cli.out.json) cli.out.document(message);
  cli.out.print(`Taken back: ${plain(message.to)} will not get it.`);
  return EXIT.ok;
};

const addresses: Command = async (cli) => {
  const { out } = cli;
  const { client } = await cli.node();
  const answer = await client.call('message.addresses', {});
  if (out.json) out.document(answer);
  const rows = answer.addresses.map(({ address, status, unread }) => [
    plain(address),
    status === 'here' ? 'this machine' : status,
    unread === undefined ? '' : unread === 0 ? 'nothing unread' : `${count(unread, 'message')} unread`,
  ]);
  out.print(...table([['ADDRESS', 'STATUS', ''], ...rows], out.paint));
  if (answer.more === true) out.print('Mail waits for more labels than are listed.');
  return EXIT.ok;
};

export const commands: Commands = {
  'message send': send,
  'message reply': reply,
  'message inbox': inbox,
  'message outbox': outbox,
  'message ack': ack,
  'message wait': wait,
  'message watch': watch,
  'message show': showOne,
  'message cancel': cancel,
  'message addresses': addresses,
};
