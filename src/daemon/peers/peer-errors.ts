import { errorFromBody, type ErrorName, LoopsyError } from '../../protocol/errors.ts';

/** What a node answers to one whom it does not know: said of this machine, by the peer. */
const NOT_TRUSTED: ReadonlySet<ErrorName> = new Set(['missing_key', 'invalid_key', 'revoked']);

const parseError = (body: string): LoopsyError | undefined => {
  try {
    return errorFromBody(JSON.parse(body));
  } catch {
    // No JSON: no error of a node's.
    return undefined;
  }
};

/** The error that a peer answered with, in words of this side; undefined where it is none of a node's. */
export const peerError = (body: string, name: string): LoopsyError | undefined => {
  const error = parseError(body);
  if (error === undefined || !NOT_TRUSTED.has(error.error)) return error;
  return new LoopsyError('peer_offline', {
    message: `${name} does not trust this machine`,
    hint: `run \`loopsy connect\` on ${name}`,
    cause: error,
  });
};

/** The same, where something that is no node's error is one, too. */
export const errorOfPeer = (body: string, name: string): LoopsyError =>
  peerError(body, name) ?? new LoopsyError('peer_handshake', { message: `${name} answered with something else` });
