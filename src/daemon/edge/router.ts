import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

import findMyWay from 'find-my-way';

import { LoopsyError } from '../../protocol/errors.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import { callerName } from '../../trust/caller.ts';
import { recordRequest } from './audit-hook.ts';
import { carryOut } from './carry-out.ts';
import { toLoopsyError } from './error-reply.ts';
import { type Exchange, sendJsonText } from './exchange.ts';
import { promote, socketFacts } from './listener.ts';
import type { EdgeParts } from './parts.ts';
import { admit, beginState, identify } from './request-state.ts';

const MAX_PARAM_LENGTH = 2048;

type Served = Pick<Exchange, 'request' | 'response' | 'params' | 'query'> & { readonly isBadUrl?: boolean };

const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? '';

const answerChallenge = ({ request, response }: Exchange, parts: EdgeParts): void => {
  const challenge = request.headers[HEADERS.challenge];
  if (typeof challenge !== 'string') return;
  const proof = parts.prove(challenge, request.socket.localPort ?? 0);
  if (proof !== undefined) response.setHeader(HEADERS.proof, proof);
};

/** A head that something between the client and this node may have read in another way. */
const refuseAmbiguous = ({ rawHeaders, url = '' }: IncomingMessage): void => {
  const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts === 1 && url.startsWith('/')) return;
  throw new LoopsyError('invalid_request', {
    message: hosts === 1 ? 'the target of a request is a path, and nothing else' : 'a request has one Host',
  });
};

const sendError = (thrown: unknown, exchange: Exchange, parts: EdgeParts): void => {
  const error = toLoopsyError(thrown, parts.log);
  recordRequest(exchange, { statusCode: error.status, decision: error.error }, parts);
  sendJsonText(exchange, { status: error.status, text: JSON.stringify(error.toBody()) }, parts.clock);
};

/** Who asks → may it → how often → carry it out; whatever is thrown on the way is the answer. */
const serve = async (id: OperationId | undefined, served: Served, parts: EdgeParts): Promise<void> => {
  const exchange: Exchange = { ...served, path: pathOf(served.request), state: beginState(id, parts) };
  try {
    const facts = socketFacts(served.request.socket);
    const refusal = identify(exchange, facts, parts);
    refuseAmbiguous(served.request);
    const { caller } = exchange.state;
    if (caller.kind !== 'stranger') promote(served.request.socket, callerName(caller));
    if (id === undefined && served.isBadUrl === true) {
      throw new LoopsyError('invalid_request', {
        message: 'the path of this request is not URL-encoded as it should be',
      });
    }
    if (id === undefined) {
      throw new LoopsyError('unknown_route', {
        message: `there is no route ${served.request.method} ${exchange.path}`,
      });
    }
    admit(exchange, { op: rowOf(id), facts, refusal }, parts);
    answerChallenge(exchange, parts);
    await carryOut(id, exchange, parts);
  } catch (error) {
    sendError(error, exchange, parts);
  }
};

/**
 * The routes of every operation of the table: caller → scope → rate → validate → reach and ownership → handle or
 * forward → encode → audit, once for all of them.
 */
export const createRouter = (parts: EdgeParts): RequestListener => {
  const nowhere = (request: IncomingMessage, response: ServerResponse, isBadUrl: boolean): void =>
    void serve(undefined, { request, response, params: {}, query: {}, isBadUrl }, parts);
  const router = findMyWay({
    defaultRoute: (request, response) => nowhere(request, response, false),
    onBadUrl: (_path, request, response) => nowhere(request, response, true),
    maxParamLength: MAX_PARAM_LENGTH,
  });
  for (const id of OPERATION_IDS) {
    const { method, path } = rowOf(id);
    // The router's own list of arguments; the fourth is a store that no route has.
    router.on(method, `${BASE_PATH}${path}`, (...[request, response, params, , query]) =>
      serve(id, { request, response, params, query }, parts),
    );
  }
  return (request, response) => void router.lookup(request, response);
};
