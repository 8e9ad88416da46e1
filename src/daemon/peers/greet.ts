import type { Clock } from '../../kernel/clock.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { type Handshake, handshakeSchema } from '../../protocol/peers.ts';
import { askNode, readAnswer } from './exchange.ts';
import { type Link, LinkCut } from './link.ts';
import { errorOfPeer, linkError } from './peer-errors.ts';

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

interface GreetingOptions {
  readonly handshake: Handshake;
  /** For all of it: the connection, too, where there is none. */
  readonly limitMs: number;
  readonly clock: Clock;
  readonly name: string;
}

const greetOver = async (link: Link, { handshake, limitMs, clock, name }: GreetingOptions): Promise<Greeting> => {
  const sentAtMs = clock.monotonicMs();
  const answer = await askNode(link, 'peer.handshake', { input: handshake, limitMs });
  const latencyMs = clock.monotonicMs() - sentAtMs;
  const body = await readAnswer(answer, MAX_BYTES);
  if (answer.statusCode !== 200) throw errorOfPeer(body, name);
  const theirs = Date.parse(answer.headers.date ?? '');
  const clockSkewMs = Number.isNaN(theirs) ? 0 : theirs - (clock.now() - latencyMs / 2);
  return { handshake: readHandshake(body, name), latencyMs, clockSkewMs };
};

/**
 * Exchanges facts with a peer: the start of each link, and its heartbeat.
 * @throws {LoopsyError} `peer_unreachable`, `request_timeout`, `peer_handshake`, or what the peer answered.
 */
export const greet = async (link: Link, options: GreetingOptions): Promise<Greeting> => {
  try {
    return await greetOver(link, options);
  } catch (error) {
    throw error instanceof LinkCut ? linkError(error, options.name) : error;
  }
};

/** Tells a peer that this node no longer trusts it. @returns true where it has answered. */
export const bidFarewell = async (link: Link, limitMs: number): Promise<boolean> => {
  try {
    const answer = await askNode(link, 'peer.farewell', { input: { reason: 'removed' }, limitMs });
    answer.resume();
    return answer.statusCode === 200;
  } catch {
    // It may be off; it will find out at its next contact.
    return false;
  }
};
