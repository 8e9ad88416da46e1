import type { HandlersOf } from '../edge/call.ts';
import type { Messages } from './service.ts';

/** Binds the operations on messages. */
export const messageHandlers = (messages: Messages): HandlersOf<'message'> => ({
  'message.send': (input, call) => messages.send(input, call),
  'message.list': (input, call) => messages.list(input, call),
  'message.wait': (input, call) => messages.wait(input, call),
  'message.addresses': () => messages.addresses(),
  'message.show': (input, call) => messages.show(input, call),
  'message.read': (input, call) => messages.read(input, call),
  'message.ack': (input, call) => messages.ack(input, call),
  'message.cancel': (input, call) => messages.cancel(input, call),
  'message.deliver': (input, call) => messages.deliver(input, call),
  'message.receipts': (input, call) => messages.receive(input, call),
});
