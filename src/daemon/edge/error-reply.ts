import { z } from 'zod';

import { LoopsyError } from '../../protocol/errors.ts';
import { randomHex } from '../../kernel/ids.ts';
import type { Log } from '../../kernel/log.ts';
import { nearest } from '../../kernel/nearest.ts';

/** Node's and fastify's own errors, as far as a client can cause them. */
const CLIENT_ERRORS: Readonly<Record<string, 'invalid_request' | 'body_too_large' | 'unknown_route'>> = {
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'invalid_request',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'invalid_request',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_NOT_FOUND: 'unknown_route',
};

/**
 * The one mapper from whatever was thrown to what a caller sees. The unexpected becomes `internal` plus a reference
 * that is also in the node's log.
 */
export const toLoopsyError = (thrown: unknown, log: Log): LoopsyError => {
  if (thrown instanceof LoopsyError) return thrown;
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const known = CLIENT_ERRORS[code];
  if (known !== undefined) return new LoopsyError(known, { cause: thrown });
  const reference = randomHex(6);
  log.error('internal error', { reference, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
  return new LoopsyError('internal', {
    message: `something went wrong inside the node (reference ${reference})`,
    details: { reference },
    cause: thrown,
  });
};

/** Names the first field that does not fit, and for an unknown one the nearest that exists. */
export const invalidInput = (error: z.ZodError, known: readonly string[]): LoopsyError => {
  const issue = error.issues[0];
  if (issue === undefined) return new LoopsyError('invalid_request');
  if (issue.code === 'unrecognized_keys') {
    const field = issue.keys[0] ?? '';
    const near = nearest(field, known);
    return new LoopsyError('invalid_request', {
      message: `there is no field "${field}" here`,
      hint: near === undefined ? `the fields are: ${known.join(', ') || 'none'}` : `did you mean "${near}"?`,
      details: { field },
    });
  }
  const field = issue.path.join('.');
  return new LoopsyError('invalid_request', {
    message: field === '' ? `the request is not valid: ${issue.message}` : `the field "${field}" is not valid: ${issue.message}`,
    details: { field },
  });
};
