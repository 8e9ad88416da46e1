import { messageSchema } from '../../src/protocol/messages.ts';

const NODE_ID = 'a'.repeat(32);
export const MESSAGE_ID = '01j8zq0v3m8k2t4n6p8r0s2v6z';
export const MESSAGE = messageSchema.parse({
  id: MESSAGE_ID, box: 'inbox', from: 'maria#codex', fromNodeId: NODE_ID, to: 'kai', toNodeId: 'b'.repeat(32), ts: 1_799_999_000_000, type: 'request',
  body: 'look\n\u202Eat this', thread: 'build', hops: 0, expiresAt: 1_800_600_000_000, state: 'read', reader: 'owner',
  history: [{ state: 'queued', at: 1_799_999_000_000 }, { state: 'delivered', at: 1_799_999_000_100 }, { state: 'read', at: 1_799_999_001_000 }],
}); // prettier-ignore
const REFUSED = {
  ...MESSAGE,
  box: 'outbox',
  from: 'kai',
  to: 'maria',
  state: 'refused',
  history: [{ state: 'refused', at: 1, note: 'it is full\u202E' }],
};
/** What the fake node answers about messages. */
export const MAIL_ANSWERS = {
  'message.send': () => ({ id: MESSAGE_ID, state: 'delivered', to: 'maria#codex' }),
  'message.list': ({ input }: { readonly input: Readonly<Record<string, unknown>> }) => ({
    messages: [input['box'] === 'outbox' ? REFUSED : MESSAGE],
  }),
  'message.wait': () => ({ messages: [MESSAGE], more: false }),
  'message.addresses': () => ({
    addresses: [
      { address: 'kai', status: 'here', unread: 0 },
      { address: 'kai#claude', status: 'here', unread: 2 },
      { address: 'maria', status: 'online' },
    ],
  }),
  'message.show': () => MESSAGE,
  'message.read': () => MESSAGE,
  'message.ack': ({ input }: { readonly input: Readonly<Record<string, unknown>> }) => ({
    ...MESSAGE,
    state: 'acked',
    history: [...MESSAGE.history, { state: 'acked', at: 1_799_999_002_000, note: input['note'] }],
  }),
  'message.cancel': () => ({ ...REFUSED, state: 'cancelled' }),
};
