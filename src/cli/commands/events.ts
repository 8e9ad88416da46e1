import { EXIT } from '../../protocol/errors.ts';
import type { Event } from '../../protocol/events.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { followed } from '../followed.ts';
import { callerWords } from '../known-names.ts';
import { addressOf } from '../../protocol/mail.ts';
import { duration, localTime, plain, size, count } from '../output.ts';
import { endName, placeWords, reasonWords, type Reader } from '../transfer-words.ts';

const events: Command = async (cli) => {
  const node = await cli.node();
  const reader = { here: node.health.nodeId };
  const by = cli.out.json ? plain : await callerWords(node, ['peer:']);
  const note = 'what happens is told again when it is back';
  for await (const event of followed(cli, node, { id: 'event.follow', input: {}, note })) {
    if (cli.out.json) cli.out.document(event);
    else show(cli, event, { ...reader, by });
  }
  return EXIT.ok;
};

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
      return `${plain(event.message.id)} from ${plain(addressOf(event.message.from, event.message.fromAgent))}${byWords(event.message)}`;
    case 'message.state':
      return `${plain(event.message.id)} ${event.message.box === 'inbox' ? `from ${plain(event.message.from)}${byWords(event.message)}` : `to ${plain(event.message.to)}`}: ${event.message.state}`;
    case 'message.rest':
      return `${plain(event.from)} and ${plain(event.to)} wrote too much too fast: both rest for ${duration(event.restMs)}`;
    case 'gap':
      return plain(event.reason);
  }
};

const byWords = ({ by }: { readonly by?: string | undefined }): string => (by === undefined ? '' : ` (${plain(by)})`);

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
