import { z } from 'zod';

import { LoopsyError } from './errors.ts';
import { requestIdSchema } from './ids.ts';

/** DELETE /requests/:requestId: the first node no longer wants the answer. */
export const requestRefSchema = z.strictObject({ requestId: requestIdSchema });
/** `found` is false where it had ended. */
export const requestCancelledSchema = z.object({
  success: z.literal(true),
  requestId: requestIdSchema,
  found: z.boolean(),
});

/** What a request is answered whose id stands for another one: it is no repeat, and has no effect. */
export const usedRequestId = (): LoopsyError =>
  new LoopsyError('invalid_request', {
    message: 'this request id was used for another request',
    hint: 'make a new id for each request; only a repeat of the same one takes its id again',
  });

/** Headers of loopsy's own, lower case. */
export const HEADERS = {
  /** The id of an effect; a repeat by the same caller gets the first result. */
  requestId: 'loopsy-request-id',
  /**
   * On a repeat: `<boot>.<age>`, the peer's boot as the sender knows it, and for how many ms the first result may have
   * been kept. Another boot refuses, because its first result is gone; a great age, because it may be.
   */
  repeat: 'loopsy-repeat',
  /** The id of the object that the answer is about, before its body. */
  object: 'loopsy-object',
  /** For whom a node asks: a note for the peer's audit, never an authority. */
  onBehalfOf: 'loopsy-on-behalf-of',
  /** On the answer of a forwarded request: the node that carried it out. */
  node: 'loopsy-node',
  /** Of a file that is given: all its bytes, also where a part is given. */
  size: 'loopsy-size',
  /** Of a file that is given: its sha256, lower-case hex, as a trailer. */
  checksum: 'loopsy-checksum',
  /** Of a file that is given: when it was changed, ms since 1970. */
  modified: 'loopsy-modified',
  /** A client's question before it sends its token: `<key id>.<nonce>`, hex. */
  challenge: 'loopsy-challenge',
  /** The node's answer: HMAC-SHA256 over the nonce and the dialled port. */
  proof: 'loopsy-proof',
} as const;
