import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

import findMyWay from 'find-my-way';

import { LoopsyError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';
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

const pathOf = ({ url = '' }: IncomingMessage): string => {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
};

const answerChallenge = ({ request, response }: Exchange, parts: EdgeParts): void => {
  const challenge = request.headers[HEADERS.challenge];
  if (typeof challenge !== 'string') return;
  const proof = parts.prove(challenge, request.socket.localPort ?? 0);
  if (proof !== undefined) response.setHeader(HEADERS.proof, proof);
};

/** A head that something between the client and this node may have read in another way. */
const refuseAmbiguous = ({ rawHeaders, url = '' }: IncomingMessage): void => {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.length === 4 && rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
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
const serve = async (
  id: OperationId | undefined,
  { request, response, params, query, isBadUrl }: Served,
  parts: EdgeParts,
): Promise<void> => {
  const exchange: Exchange = { request, response, params, query, path: pathOf(request), state: beginState(id, parts) };
  try {
    const facts = socketFacts(request.socket);
    const refusal = identify(exchange, facts, parts);
    refuseAmbiguous(request);
    const { caller } = exchange.state;
    if (caller.kind !== 'stranger') promote(request.socket, callerName(caller));
    if (id === undefined && isBadUrl === true) {
      throw new LoopsyError('invalid_request', {
        message: 'the path of this request is not URL-encoded as it should be',
      });
    }
    if (id === undefined) {
      throw new LoopsyError('unknown_route', {
        message: `there is no route ${request.method} ${exchange.path}`,
      });
    }
    admit(exchange, { op: rowOf(id), facts, refusal }, parts);
    answerChallenge(exchange, parts);
    await carryOut(id, exchange, parts);
  } catch (error) {
    sendError(error, exchange, parts);
  }
};

type Query = Exchange['query'];

/** What stands at one method and path: an operation, and perhaps another one that a query tells from it. */
interface RoutesAt {
  readonly method: Operation['method'];
  pick(query: Query): { readonly id: OperationId; readonly query: Query };
}

const routesByPath = function* (): Generator<[path: string, routes: RoutesAt]> {
  const special = new Map<string, { id: OperationId; name: string; value: string }>();
  for (const id of OPERATION_IDS) {
    const { method, path } = rowOf(id);
    const [plain = '', mark] = path.split('?');
    const [name = '', value = ''] = mark?.split('=') ?? [];
    if (mark !== undefined) special.set(`${method} ${plain}`, { id, name, value });
  }
  for (const id of OPERATION_IDS) {
    const { method, path } = rowOf(id);
    if (path.includes('?')) continue;
    const other = special.get(`${method} ${path}`);
    const pick: RoutesAt['pick'] = (query) => {
      if (other === undefined || query[other.name] !== other.value) return { id, query };
      const { [other.name]: _mark, ...rest } = query;
      return { id: other.id, query: rest };
    };
    yield [`${BASE_PATH}${path}`, { method, pick }];
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
  for (const [path, routes] of routesByPath()) {
    // The router's own list of arguments; the fourth is a store that no route has.
    router.on(routes.method, path, (...[request, response, params, , query]) => {
      const picked = routes.pick(query);
      return serve(picked.id, { request, response, params, query: picked.query }, parts);
    });
  }
  return (request, response) => void router.lookup(request, response);
};
