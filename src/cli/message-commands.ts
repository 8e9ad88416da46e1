/** The commands about messages: plain data, as in `commands.ts`. */
import type { CommandSpec, OptionSpec } from './command-spec.ts';

const AS: OptionSpec = { name: 'as', value: 'label', summary: 'write and read under this label: <node>#<label>' };
const FROM: OptionSpec = { name: 'from', value: 'sender', summary: 'only what comes from there' };
const TTL: OptionSpec = {
  name: 'ttl',
  value: 'time',
  summary: 'how long it may wait to be read: s, or 30s, 5m, 12h, 7d; default: messages.ttl, a week',
};
const TYPE: OptionSpec = { name: 'type', value: 'type', summary: 'chat, request, response, ack or broadcast' };
const PEEK: OptionSpec = { name: 'peek', summary: 'take nothing: it stays unread' };
const ID = { name: 'id' };

/** Messages between machines and agents. */
export const MESSAGE_COMMANDS: readonly CommandSpec[] = [
  {
    path: 'message send',
    summary: 'send a message to a machine, or to an agent there',
    args: [{ name: 'recipient', replacedBy: 'all' }, { name: 'body' }],
    options: [
      { name: 'all', summary: 'to every trusted peer: one message each' },
      TYPE,
      { name: 'thread', value: 'name', summary: 'the thread that it belongs to' },
      TTL,
      AS,
    ],
    examples: [
      ['loopsy message send kai "the build is green"', 'to whoever reads the mail of kai first'],
      ['loopsy message send kai#claude - < plan.md', 'to one agent there; the body from stdin'],
      ['loopsy message send --all "rebooting in 5 minutes"', 'says of each peer what became of it'],
    ],
    details:
      'A message that was accepted is on disk, and goes when the other machine is there: at once, or when it is back.\nA body has at most 256 KiB.',
  },
  {
    path: 'message reply',
    summary: 'answer a message',
    args: [ID, { name: 'body' }],
    options: [TYPE, TTL, AS],
    examples: [['loopsy message reply 01k… "done"', 'goes back to its sender, in the same thread']],
  },
  {
    path: 'message inbox',
    summary: 'take the messages that nobody has taken yet',
    options: [
      PEEK,
      { name: 'all', summary: 'list all that is kept, taken or not' },
      FROM,
      { name: 'thread', value: 'id', summary: 'only this thread' },
      AS,
    ],
    examples: [
      ['loopsy message inbox', 'prints each message, and marks it as read; no other reader gets it'],
      ['loopsy message inbox --peek', 'looks, and leaves them unread'],
      ['loopsy message inbox --all', 'what is kept: a week beyond the life of each message'],
    ],
  },
  {
    path: 'message outbox',
    summary: 'list what was sent, and what became of it',
    options: [
      { name: 'waiting', summary: 'only what is under way' },
      { name: 'dead', summary: 'only what has expired or was refused' },
      { name: 'thread', value: 'id', summary: 'only this thread' },
      AS,
    ],
    examples: [
      ['loopsy message outbox', 'queued, delivered, read, acked, replied, expired, refused or cancelled'],
      ['loopsy message outbox --dead', 'with the reasons'],
    ],
  },
  {
    path: 'message ack',
    summary: 'acknowledge a message: its sender sees it',
    args: [ID],
    options: [{ name: 'note', value: 'text', summary: 'what the sender reads' }, AS],
    examples: [['loopsy message ack 01k… --note "deployed"', 'takes it, too, where nobody has']],
  },
  {
    path: 'message wait',
    summary: 'wait for a message, take it, and print it',
    options: [
      { name: 'timeout', value: 'time', summary: 'give up after that, with exit 6; default: never' },
      PEEK,
      FROM,
      AS,
    ],
    examples: [
      ['loopsy message wait --timeout 10m --from kai', 'for scripts: exits 0 with the first one'],
      ['loopsy message wait --json', 'one document'],
    ],
  },
  {
    path: 'message watch',
    summary: 'take each message as it comes',
    options: [
      { name: 'exec', value: 'command', summary: 'run it for each, with the message as JSON on stdin' },
      PEEK,
      FROM,
      AS,
    ],
    examples: [
      ['loopsy message watch', 'prints each; Ctrl-C ends it'],
      ['loopsy message watch --as notify --exec ./notify.sh', 'acknowledged where the command exits 0'],
    ],
  },
  {
    path: 'message show',
    summary: 'show a message, and the states that it went through',
    args: [ID],
    options: [AS],
    examples: [['loopsy message show 01k…', 'sent or received']],
  },
  {
    path: 'message cancel',
    summary: 'take back a message that has not left yet',
    args: [ID],
    options: [AS],
    examples: [['loopsy message cancel 01k…', 'exits 1 where it has left, or may have']],
  },
  {
    path: 'message addresses',
    summary: 'list who can be written to',
    examples: [['loopsy message addresses', 'the agents here, and the machines that this one trusts']],
  },
];
