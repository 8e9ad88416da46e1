import type { Clock } from '../../kernel/clock.ts';
import { collectText } from '../../kernel/collect.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { OPERATIONS } from '../../protocol/operations.ts';
import { type Handshake, handshakeSchema } from '../../protocol/peers.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import type { Link } from './link.ts';
import { errorOfPeer } from './peer-errors.ts';

/** What a greeting found. */
export interface Greeting {
  readonly handshake: Handshake;
  readonly latencyMs: number;
  /** The peer's clock minus this one's, as far as the way there and back allows. */
  readonly clockSkewMs: number;
}

const MAX_BYTES = 65_536;

const readHandshake = (body: string, name: string): Handshake => {
  const said = handshakeSchema.safeParse(parseJson(body));
  if (said.success) return said.data;
  throw errorOfPeer('', name);
};

/** Exchanges facts with a peer: the start of each link, and its heartbeat. */
export const greet = async (
  link: Link,
  options: { handshake: Handshake; limitMs: number; clock: Clock; name: string },
): Promise<Greeting> => {
  const op = OPERATIONS['peer.handshake'];
  const sentAtMs = options.clock.monotonicMs();
  const answer = await link.request({
    method: op.method,
    path: `${BASE_PATH}${op.path}`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(options.handshake),
    long: false,
    idleMs: options.limitMs,
    signal: AbortSignal.timeout(options.limitMs),
  });
  const latencyMs = options.clock.monotonicMs() - sentAtMs;
  const body = await collectText(answer, MAX_BYTES);
  if (answer.statusCode !== 200) throw errorOfPeer(body, options.name);
  const theirs = Date.parse(answer.headers.date ?? '');
  const clockSkewMs = Number.isNaN(theirs) ? 0 : theirs - (options.clock.now() - latencyMs / 2);
  return { handshake: readHandshake(body, options.name), latencyMs, clockSkewMs };
};

/** Tells a peer that this node no longer trusts it. @returns true where it has answered. */
export const bidFarewell = async (link: Link, limitMs: number): Promise<boolean> => {
  const op = OPERATIONS['peer.farewell'];
  try {
    const answer = await link.request({
      method: op.method,
      path: `${BASE_PATH}${op.path}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ reason: 'removed' }),
      long: false,
      idleMs: limitMs,
      signal: AbortSignal.timeout(limitMs),
    });
    answer.resume();
    return answer.statusCode === 200;
  } catch {
    // It may be off; it will find out at its next contact.
    return false;
  }
};
