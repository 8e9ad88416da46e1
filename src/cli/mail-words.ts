import type { Message } from '../protocol/messages.ts';
import { ago, facts, localTime, plain, type Paint } from './output.ts';

/** Text of others in lines of its own, made harmless. */
const bodyLines = (body: string): string[] => body.split(/\r?\n/).map((line) => `  ${plain(line)}`);

/** Who wrote it: where a named key did, it was not the owner there. */
const writer = ({ from, by }: Message): string => plain(by === undefined ? from : `${from} (${by})`);

/** Who, when, and what about: the first line of a message. */
const headLine = (message: Message, paint: Paint): string => {
  const { to, ts, type, id } = message;
  return `${paint.bold(writer(message))} → ${plain(to)}  ${paint.dim(`${localTime(ts)}  ${type === 'chat' ? '' : `${type}  `}${id}`)}`;
};

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
  const { id, box, to, ts, body } = message;
  return [id, box === 'inbox' ? writer(message) : plain(to), ago(ts, now), glimpse(body), stateWords(message)];
};
