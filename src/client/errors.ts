import { errorFromBody, LoopsyError } from '../protocol/errors.ts';
import type { TransportResponse } from './transport.ts';

/** A larger JSON answer is refused. */
const MAX_JSON_BYTES = 67_108_864;

/** The whole body as text. Bounded: a longer one is an error. */
export const readText = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_JSON_BYTES)
      throw new LoopsyError('body_too_large', { message: 'the answer of the node is too large' });
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LoopsyError('internal', { message: 'the node answered with something that is not JSON', cause });
  }
};

/** The JSON document of an answer. */
export const readJson = async (response: TransportResponse): Promise<unknown> => parse(await readText(response.body));

/** The error that a node answered with. */
export const readError = async (response: TransportResponse): Promise<LoopsyError> => {
  const text = await readText(response.body);
  const answered = text.startsWith('{') ? errorFromBody(parse(text)) : undefined;
  return (
    answered ??
    new LoopsyError('internal', { message: `the node answered ${response.status} without a reason that is known here` })
  );
};

/**
 * What a broken connection means. After an effect was sent its outcome is `outcome_unknown`, never "failed"; a read
 * changed nothing, so the node is simply gone.
 */
export const connectionLost = (effect: boolean, cause: unknown): LoopsyError =>
  effect
    ? new LoopsyError('outcome_unknown', {
        message: 'the connection to the node broke before it had answered: whether this was done is not known',
        hint: 'look with `loopsy status` before you repeat it',
        cause,
      })
    : new LoopsyError('node_not_running', {
        message: 'the connection to the node was lost: it stopped or it crashed',
        cause,
      });

/** What it means that the bytes of an answer broke off: whoever reads them has not got them all. */
export const bytesLost = (cause: unknown): LoopsyError =>
  cause instanceof LoopsyError
    ? cause
    : new LoopsyError('transfer_failed', {
        message: 'the bytes broke off before their end: a file changed or a link broke while they were on their way',
        hint: 'run the same command again; `loopsy logs` says how it ended',
        cause,
      });
