import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Event } from '../../protocol/events.ts';
import { Absence, wasCut } from '../absence.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { callerWords } from '../known-names.ts';
import { addressOf } from '../../protocol/mail.ts';
import { duration, localTime, plain, size, count } from '../output.ts';
import { endName, placeWords, reasonWords, type Reader } from '../transfer-words.ts';

const events: Command = async (cli) => {
  const node = await cli.node();
  const reader = { here: node.health.nodeId };
  const by = cli.out.json ? plain : await callerWords(node, ['peer:']);
  for await (const event of followed(cli, node)) {
    if (cli.out.json) cli.out.document(event);
    else show(cli, event, { ...reader, by });
  }
  return EXIT.ok;
};

/** They are followed over a restart of the node, too; what was missed then is told, or that something was. */
async function* followed(cli: Cli, node: LocalNode): AsyncGenerator<Event> {
  const away = new Absence(cli, 'what happens is told again when it is back', cli.out.note);
  const { signal } = new AbortController();
  let asked = node;
  for (let since: number | undefined; ;) {
    try {
      for await (const { id, event } of asked.client.events('event.follow', since === undefined ? {} : { since })) {
        since = id === undefined ? since : Number(id);
        away.over();
        yield event;
      }
      return;
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
      asked = await away.wait({ signal, why: thrown });
    }
  }
}

const isAway = (thrown: unknown): boolean =>
  wasCut(thrown) || (thrown instanceof LoopsyError && AWAY.has(thrown.error));

const AWAY: ReadonlySet<string> = new Set(['node_not_running', 'node_stopping']);

interface Words extends Reader {
  /** How people read who asked for something. */
  readonly by: (caller: string) => string;
}

const show = ({ out: { paint, print } }: Cli, event: Event, words: Words): void =>
  print([paint.dim(localTime(event.at)), paint.bold(event.type), wordsOf(event, words)].join('  '));

const wordsOf = (event: Event, words: Words): string => {
  switch (event.type) {
    case 'transfer.started':
    case 'transfer.ended':
      return movedWords(event, words);
    case 'file.written':
    case 'file.read':
      return `${plain(words.by(event.file.caller))}: ${plain(event.file.path)}, ${size(event.file.bytes)}`;
    case 'context.changed':
      return `${plain(event.key)} ${event.change}`;
    case 'file.failed':
      return `${plain(words.by(event.file.caller))}: ${plain(event.file.path)}; failed: ${plain(event.file.message)}`;
    case 'lease.changed':
      return `${plain(event.name)} ${event.change}${event.owner === undefined ? '' : `, held by ${plain(words.by(event.owner))}`}`;
    case 'message.received':
      return `${plain(event.message.id)} from ${plain(addressOf(event.message.from, event.message.fromAgent))}`;
    case 'message.state':
      return `${plain(event.message.id)} ${event.message.box === 'inbox' ? `from ${plain(event.message.from)}` : `to ${plain(event.message.to)}`}: ${event.message.state}`;
    case 'message.rest':
      return `${plain(event.from)} and ${plain(event.to)} wrote too much too fast: both rest for ${duration(event.restMs)}`;
    case 'gap':
      return plain(event.reason);
  }
};

const movedWords = ({ type, transfer }: Extract<Event, { type: `transfer.${string}` }>, reader: Reader): string => {
  const { from, to, source, more, dest, path, files, bytes, outcome } = transfer;
  const what = `${plain(source)}${more === 0 ? '' : ` and ${more} more`}`;
  const way = `${endName(from, reader)}: ${what} to ${placeWords(to, path ?? dest, reader)}`;
  if (type === 'transfer.started') return way;
  const failed = files.failed === 0 ? '' : `, ${files.failed} failed`;
  const reason = reasonWords(transfer, reader);
  const why = reason === '' ? '' : `: ${reason}`;
  return `${way}; ${outcome ?? 'ended'}, ${count(files.done, 'file')}, ${size(bytes.done)}${failed}${why}`;
};

export const commands: Commands = { events };
