import { parseJson } from '../../kernel/parse-json.ts';
import { errorFromBody, type ErrorName, LoopsyError } from '../../protocol/errors.ts';
import type { LinkCut } from './link.ts';

/** What a node answers to one whom it does not know: said of this machine, by the peer. */
const NOT_TRUSTED: ReadonlySet<ErrorName> = new Set(['missing_key', 'invalid_key', 'revoked']);

/** What it answers to one whom it knows and does not let: said to this machine, so that people must hear by whom. */
const REFUSED: ReadonlySet<ErrorName> = new Set(['scope_missing', 'expired_key']);

const inNameOf = (name: string, error: LoopsyError): LoopsyError =>
  new LoopsyError(error.error, {
    message: `${name}: ${error.message}`,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
    cause: error,
  });

/** The error that a peer answered with, in words of this side; undefined where it is none of a node's. */
export const peerError = (body: string, name: string): LoopsyError | undefined => {
  const error = errorFromBody(parseJson(body));
  if (error === undefined) return undefined;
  if (REFUSED.has(error.error)) return inNameOf(name, error);
  if (!NOT_TRUSTED.has(error.error)) return error;
  return new LoopsyError('scope_missing', {
    message: `${name} does not trust this machine`,
    hint: `run \`loopsy pair\` here and on ${name}`,
    cause: error,
  });
};

/** The same, where something that is no node's error is one, too. */
export const errorOfPeer = (body: string, name: string): LoopsyError =>
  peerError(body, name) ?? new LoopsyError('peer_handshake', { message: `${name} answered with something else` });

const SILENT = 'it may be busy, asleep or switched off: `loopsy doctor` says what can be reached';
const NOWHERE = 'is the machine awake, and does its firewall let this node in?';

/** What a failed link means to whoever asked for `name`: unreachable is one answer, too slow another. */
export const linkError = (cut: LinkCut, name: string): LoopsyError => {
  const within = `within ${cut.silentMs / 1000} s`;
  switch (cut.kind) {
    case 'cut':
      return new LoopsyError('peer_unreachable', { message: `the connection to ${name} was cut`, cause: cut });
    case 'silent':
      return cut.sent
        ? new LoopsyError('request_timeout', { message: `${name} did not answer ${within}`, hint: SILENT, cause: cut })
        : new LoopsyError('peer_unreachable', {
            message: `there was no connection to ${name} ${within}`,
            hint: NOWHERE,
            cause: cut,
          });
    case 'closed':
      return new LoopsyError('request_timeout', {
        message: `${name} fell silent, and the connection to it was closed here`,
        hint: SILENT,
        cause: cut,
      });
  }
};
