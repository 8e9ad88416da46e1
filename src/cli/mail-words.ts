import type { Message } from '../protocol/messages.ts';
import { ago, facts, localTime, plain, type Paint } from './output.ts';

/** Text of others in lines of its own, made harmless. */
const bodyLines = (body: string): string[] => body.split(/\r?\n/).map((line) => `  ${plain(line)}`);

/** Who, when, and what about: the first line of a message. */
const headLine = ({ from, to, ts, type, id }: Message, paint: Paint): string =>
  `${paint.bold(plain(from))} → ${plain(to)}  ${paint.dim(`${localTime(ts)}  ${type === 'chat' ? '' : `${type}  `}${id}`)}`;

/** A message for a person. */
export const messageLines = (message: Message, paint: Paint): string[] => [
  headLine(message, paint),
  ...bodyLines(message.body),
];

/** A message with everything that became of it. */
export const fullLines = (message: Message, paint: Paint): string[] => {
  const { id, thread, replyTo, hops, expiresAt, reader, history } = message;
  return [
    ...messageLines(message, paint),
    ...facts(
      [
        ...history.map(
          ({ state, at, note }) => [state, `${localTime(at)}${note === undefined ? '' : `  ${plain(note)}`}`] as const,
        ),
        ['expires', localTime(expiresAt)],
        ...(reader === undefined ? [] : [['reader', plain(reader)] as const]),
        ...(thread === undefined || thread === id ? [] : [['thread', plain(thread)] as const]),
        ...(replyTo === undefined ? [] : [['reply to', `${replyTo} (${hops} in its chain)`] as const]),
      ],
      paint,
    ),
  ];
};

const SHOWN_BODY = 40;

/** The beginning of a body, in one line. */
const glimpse = (body: string): string => {
  const [line = ''] = body.split(/\r?\n/, 1);
  const cut = line.length > SHOWN_BODY ? line.slice(0, SHOWN_BODY) : line;
  return plain(cut) + (cut.length < body.length ? '…' : '');
};

/** What became of it last, with the reason where there is one. */
const stateWords = ({ state, history }: Message): string => {
  const note = history.at(-1)?.note;
  return note === undefined ? state : `${state}: ${plain(note)}`;
};

/** A row of a list of messages. */
export const messageRow = (message: Message, now: number): string[] => {
  const { id, box, from, to, ts, body } = message;
  return [id, plain(box === 'inbox' ? from : to), ago(ts, now), glimpse(body), stateWords(message)];
};
