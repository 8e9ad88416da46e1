import type { z } from 'zod';

import { LoopsyError } from '../../protocol/errors.ts';
import { randomHex } from '../../kernel/ids.ts';
import type { Log } from '../../kernel/log.ts';
import { nearest } from '../../kernel/nearest.ts';

/**
 * The one mapper from whatever was thrown to what a caller sees. The unexpected becomes `internal` plus a reference
 * that is also in the node's log.
 */
export const toLoopsyError = (thrown: unknown, log: Log): LoopsyError => {
  if (thrown instanceof LoopsyError) return thrown;
  const reference = randomHex(6);
  log.error('internal error', {
    reference,
    error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
  });
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
    message:
      field === ''
        ? `the request is not valid: ${issue.message}`
        : `the field "${field}" is not valid: ${issue.message}`,
    details: { field },
  });
};
