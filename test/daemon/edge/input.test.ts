import * as fc from 'fast-check';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Exchange } from '../../../src/daemon/edge/exchange.ts';
import { gatherInput, validate } from '../../../src/daemon/edge/input.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { encodeRequest } from '../../../src/protocol/operation.ts';
import { type OperationId, rowOf } from '../../../src/protocol/operations.ts';
import { verifies } from '../../requirements.ts';

interface Asked {
  readonly id: OperationId;
  readonly query?: Exchange['query'];
  readonly params?: Exchange['params'];
}

/** What the node made of each request, in turn. */
let asked: Asked = { id: 'job.execute' };
const server = http.createServer((request, response) => {
  const { id, query = {}, params = {} } = asked;
  // The rest of an exchange is not looked at.
  const exchange = { request, response, query, params, path: '' } as Partial<Exchange> as Exchange;
  gatherInput(rowOf(id), exchange)
    .then((fields) => ({ fields, valid: validate(rowOf(id), fields) }))
    .then((made) => response.end(JSON.stringify(made)))
    .catch((error: unknown) => {
      const body = error instanceof LoopsyError ? error.toBody() : { error: String(error) };
      response.setHeader('connection', 'close');
      response.end(JSON.stringify(body));
    });
});

beforeAll(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
afterAll(() => new Promise((resolve) => void server.close(resolve)));

interface Made {
  readonly fields?: Record<string, unknown>;
  readonly valid?: Record<string, unknown>;
  readonly error?: { readonly name: string; readonly message: string; readonly details?: unknown };
}

const ask = async (what: Asked, body?: string, headers: Record<string, string> = {}): Promise<Made> => {
  asked = what;
  const { port } = server.address() as AddressInfo;
  const sending = body === undefined ? { headers } : { method: 'POST', body };
  // The server of this test answers with just that.
  return (await (await fetch(`http://127.0.0.1:${port}/`, sending)).json()) as Made;
};

describe('the input of a request', () => {
  it('is its body and its path; the path has the last word', async () => {
    const jobId = '0'.repeat(26);
    const made = await ask({ id: 'job.signal', params: { jobId } }, '{"signal":"SIGINT","jobId":"another"}');
    expect(made.valid).toEqual({ jobId, signal: 'SIGINT' });
    expect((await ask({ id: 'job.execute' }, '{"command":"a"}')).valid).toEqual({ command: 'a' });
  });

  it(
    verifies('streams.last-event-id', 'of a stream is behind the last event that was seen, whatever `since` said'),
    async () => {
      const jobId = '0'.repeat(26);
      const at = (id: OperationId, headers: Record<string, string>): Promise<Made> =>
        ask({ id, params: { jobId }, query: { since: '3' } }, undefined, headers);
      expect((await at('job.output', { 'last-event-id': '17' })).valid).toEqual({ jobId, since: 17 });
      expect((await at('job.output', {})).valid).toEqual({ jobId, since: 3 });
      expect((await at('job.output', { 'last-event-id': 'x' })).error?.details).toMatchObject({ field: 'since' });
      expect((await ask({ id: 'job.list' }, undefined, { 'last-event-id': '17' })).fields).toEqual({});
    },
  );

  it('is its query where it reads or deletes, without `peer`, and numbers are numbers', async () => {
    const made = await ask({ id: 'job.list', query: { state: 'all', limit: '3', peer: 'kai' } });
    expect(made.valid).toEqual({ state: 'all', limit: 3 });
  });

  it('in the query of what has a body is refused, and so is a field of both', async () => {
    const made = await ask({ id: 'job.execute', query: { command: 'a' } }, '{"command":"b"}');
    expect(made.error).toMatchObject({ name: 'invalid_request', details: { field: 'command' } });
  });

  it('is an object of JSON, or an empty body', async () => {
    for (const body of ['[]', '"x"', '1', 'null', '{', '{"a":1,}'])
      expect((await ask({ id: 'job.execute' }, body)).error?.name).toBe('invalid_request');
    expect((await ask({ id: 'system.stop' }, '')).valid).toEqual({});
    expect((await ask({ id: 'system.stop' }, ' \n')).valid).toEqual({});
  });

  it('above the operation’s limit is refused', async () => {
    const large = JSON.stringify({ command: 'x'.repeat(70_000) });
    expect((await ask({ id: 'key.add' }, large)).error?.name).toBe('body_too_large');
    expect((await ask({ id: 'job.execute' }, large)).valid).toMatchObject({ command: expect.any(String) });
  });

  it('never reaches a prototype, however the key is spelled', async () => {
    for (const body of [
      '{"__proto__":{"shell":true},"command":"a"}',
      '{"env":{"\\u005f_proto__":"x"},"command":"a"}',
    ]) {
      expect((await ask({ id: 'job.execute' }, body)).error?.message).toContain('__proto__');
    }
    expect((await ask({ id: 'job.execute' }, '{"command":"say __proto__ and \\u0041"}')).valid).toEqual({
      command: 'say __proto__ and A',
    });
  });

  it('arrives as clients lay it out', async () => {
    const inputs = fc.record({
      command: fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0')),
      args: fc.array(fc.string().filter((text) => !text.includes('\0'))),
      shell: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(inputs, async (input) => {
        const { body } = encodeRequest(rowOf('job.execute'), input);
        expect((await ask({ id: 'job.execute' }, body)).valid).toEqual(input);
      }),
      { numRuns: 40 },
    );
  });
});
