import type { z } from 'zod';

import { collectText, TooLarge } from '../../kernel/collect.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { inputInQuery, type Operation } from '../../protocol/operation.ts';
import { isRecord } from '../../protocol/record.ts';
import { invalidInput } from './error-reply.ts';
import { askForBody, type Exchange } from './exchange.ts';

const DEFAULT_BODY_LIMIT_BYTES = 65_536;

/**
 * Reads a whole body.
 * @throws {LoopsyError} `body_too_large`, before a byte is taken where the size is known; `request_timeout` where the
 *   client left in the middle.
 */
const readBody = async (exchange: Pick<Exchange, 'request' | 'response'>, limitBytes: number): Promise<string> => {
  const { request } = exchange;
  if (Number(request.headers['content-length'] ?? 0) <= limitBytes) askForBody(exchange);
  try {
    return await collectText(request, limitBytes);
  } catch (error) {
    if (error instanceof TooLarge) {
      throw new LoopsyError('body_too_large', {
        message: `this operation takes bodies of at most ${limitBytes} bytes`,
      });
    }
    throw new LoopsyError('request_timeout', { message: 'the body ended before its end', cause: error });
  }
};

/** A key that would become a prototype is never a field of ours. */
const refuseProto = (key: string, value: unknown): unknown => {
  if (key === '__proto__') throw new LoopsyError('invalid_request', { message: 'the body holds a key "__proto__"' });
  return value;
};

const parseJson = (text: string): Readonly<Record<string, unknown>> => {
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    // An escape can spell it too; a look at every key costs more than most bodies need.
    value = text.includes('__proto__') || text.includes('\\u') ? JSON.parse(text, refuseProto) : JSON.parse(text);
  } catch (error) {
    if (error instanceof LoopsyError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new LoopsyError('invalid_request', { message: `the body is not JSON: ${reason}`, cause: error });
  }
  if (!isRecord(value)) throw new LoopsyError('invalid_request', { message: 'the body must be a JSON object' });
  return value;
};

const fieldsOf = (schema: z.ZodType): string[] =>
  'shape' in schema && isRecord(schema.shape) ? Object.keys(schema.shape) : [];

const NOTHING: Readonly<Record<string, never>> = {};

/** Most requests have no query: theirs is not copied. */
const withoutPeer = (query: Exchange['query']): Exchange['query'] => {
  if (Object.keys(query).length === 0) return NOTHING;
  const { peer: _peer, ...rest } = query;
  return rest;
};

/** Where the reader of a stream goes on that was cut: behind the last event that it has seen, as SSE says it. */
const resumedAt = (op: Operation, { request }: Exchange): { since?: string } => {
  const since = request.headers['last-event-id'];
  if (op.kind !== 'stream' || typeof since !== 'string' || !fieldsOf(op.input).includes('since')) return NOTHING;
  return { since };
};

/** The fields of a request before validation, from path, query and body; `peer` is not among them. */
export const gatherInput = async (op: Operation, exchange: Exchange): Promise<Record<string, unknown>> => {
  const { params } = exchange;
  const query = withoutPeer(exchange.query);
  if (inputInQuery(op)) {
    const resumed = resumedAt(op, exchange);
    return query === NOTHING && resumed === NOTHING ? params : { ...query, ...resumed, ...params };
  }
  const field = Object.keys(query)[0];
  if (field !== undefined) {
    throw new LoopsyError('invalid_request', {
      message: `"${field}" belongs in the body, not in the query`,
      details: { field },
    });
  }
  return { ...parseJson(await readBody(exchange, op.bodyLimit ?? DEFAULT_BODY_LIMIT_BYTES)), ...params };
};

/** Validates; the error names the field. */
export const validate = (op: Operation, fields: Record<string, unknown>): Record<string, unknown> => {
  const parsed = op.input.safeParse(fields);
  if (!parsed.success) throw invalidInput(parsed.error, fieldsOf(op.input));
  // Every input schema of the table is an object.
  return parsed.data as Record<string, unknown>;
};
