import type { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import { LoopsyError } from '../../protocol/errors.ts';
import type { Caller } from '../../trust/caller.ts';
import { guardOrigin } from '../../trust/origin-guard.ts';
import type { SocketFacts } from './connection.ts';

/** Why a certificate or a token makes nobody. */
export type Refusal = 'invalid_key' | 'expired_key' | 'revoked';

/** Where identities come from; each answer is made anew, so that a revocation acts on open connections. */
export interface CallerSources {
  /** The peer that a certificate belongs to. */
  certificate(leaf: X509Certificate): Caller | Refusal;
  /** Who holds a token. `loopback` is false where only named keys count. */
  token(token: string, loopback: boolean): Caller | Refusal;
  /** True where config `tls.enabled: false` lets named keys in over plain HTTP from the network. */
  plainAllowed(): boolean;
}

/** The part of a request that decides who asks. */
export interface CallerRequest {
  readonly facts: SocketFacts;
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  /** True for a plain navigation to the page's files, which hold nothing. */
  readonly pageFile: boolean;
}

/** Who asks; with a stranger, why its certificate or token made nobody. */
export interface Decided {
  readonly caller: Caller;
  readonly refusal?: Refusal;
}

const STRANGER: Caller = { kind: 'stranger' };

const bearer = (headers: IncomingHttpHeaders): string | undefined => {
  const header = headers.authorization;
  if (header === undefined) return undefined;
  const match = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header);
  // Another scheme is a key that is not known, not the absence of one.
  return match?.[1] ?? '';
};

const decided = (answer: Caller | Refusal): Decided =>
  typeof answer === 'string' ? { caller: STRANGER, refusal: answer } : { caller: answer };

/** The page is served on loopback only: what has an Origin elsewhere is a page of somebody else. */
const refusePages = ({ headers }: CallerRequest): void => {
  if (headers.origin === undefined) return;
  throw new LoopsyError('foreign_origin', { message: 'a page of another origin can not call this node' });
};

const decideOverTls = (request: CallerRequest, sources: CallerSources): Decided => {
  refusePages(request);
  const token = bearer(request.headers);
  if (request.facts.certificate === undefined) {
    return token === undefined ? { caller: STRANGER } : decided(sources.token(token, request.facts.loopback));
  }
  if (token !== undefined) {
    throw new LoopsyError('invalid_request', {
      message: 'this connection shows a certificate and a key',
      hint: 'use one of them: the certificate as a node, the key as a program',
    });
  }
  return decided(sources.certificate(request.facts.certificate));
};

const decideFromNetwork = (request: CallerRequest, sources: CallerSources): Decided => {
  if (!sources.plainAllowed()) throw new LoopsyError('plain_http');
  const token = bearer(request.headers);
  const answer = token === undefined ? 'invalid_key' : sources.token(token, false);
  if (typeof answer === 'string') {
    throw new LoopsyError('plain_http', {
      message: 'over plain HTTP from the network this node lets named keys in, and nobody else',
      hint: 'use a named key (`loopsy key add`); over TLS it does not cross the network in clear',
    });
  }
  refusePages(request);
  return decided(answer);
};

/**
 * Decides who asks, from the connection alone.
 * @throws {LoopsyError} `plain_http`, `foreign_origin`, or `invalid_request` for a certificate beside a token.
 */
export const decideCaller = (request: CallerRequest, sources: CallerSources): Decided => {
  if (request.facts.tls) return decideOverTls(request, sources);
  if (!request.facts.loopback) return decideFromNetwork(request, sources);
  const foreign = guardOrigin(request);
  if (foreign !== undefined) throw new LoopsyError(foreign.error, { message: foreign.message });
  const token = bearer(request.headers);
  return token === undefined ? { caller: STRANGER } : decided(sources.token(token, true));
};
