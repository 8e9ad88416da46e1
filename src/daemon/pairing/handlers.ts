import type { HandlersOf } from '../edge/call.ts';
import type { Pairing } from './service.ts';

/** The owner's operations on pairing, and the strangers' steps. */
export const pairingHandlers = (pairing: Pairing): HandlersOf<'pair'> => ({
  'pair.start': (input) => pairing.open(input),
  'pair.join': (input) => pairing.join(input),
  'pair.confirm': (input) => pairing.confirm(input),
  'pair.status': (input, { signal }) => pairing.status(input, signal),
  'pair.initiate': (body, { remoteAddress }) => pairing.initiate(body, remoteAddress),
  'pair.prove': (body, { remoteAddress }) => pairing.prove(body, remoteAddress),
  'pair.reveal': (body) => pairing.reveal(body),
  'pair.settle': (body, { signal }) => pairing.settle(body, signal),
});
