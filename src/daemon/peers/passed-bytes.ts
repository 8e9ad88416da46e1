import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

import { GatheredChunks } from '../../kernel/gathered-chunks.ts';
import { HEADERS } from '../../protocol/requests.ts';
import type { ByteAnswer } from '../edge/call.ts';
import { LinkCut } from './link.ts';
import { linkError } from './peer-errors.ts';

const PASSED: ReadonlySet<string> = new Set(['content-type', 'content-range', 'accept-ranges']);
const OURS = /^loopsy-[a-z\d-]{1,60}$/;
/** What a node says of itself, to whoever is connected to it. */
const OWN: ReadonlySet<string> = new Set([HEADERS.node, HEADERS.proof, HEADERS.challenge]);
const MAX_TRAILERS = 16;

const isPassed = (name: string): boolean => PASSED.has(name) || (OURS.test(name) && !OWN.has(name));

/** Those that are passed on; a list is none of them. */
const passed = (headers: IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      isPassed(name) && typeof value === 'string' ? [[name, value] as const] : [],
    ),
  );

/** The names that a peer announced of what follows its bytes. */
const trailersIn = ({ trailer = '' }: IncomingHttpHeaders): string[] =>
  trailer
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => OURS.test(name) && !OWN.has(name))
    .slice(0, MAX_TRAILERS);

/** The bytes as they come; where they are cut, why. */
class PassedChunks extends GatheredChunks {
  readonly #peerName: string;

  constructor(answer: IncomingMessage, peerName: string) {
    super(answer, () => answer.destroy());
    this.#peerName = peerName;
  }

  override async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      return await super.next();
    } catch (error) {
      const cut = error instanceof LinkCut ? error : new LinkCut('cut', { sent: true, cause: error });
      throw linkError(cut, this.#peerName);
    }
  }
}

/** A peer's answer of bytes, on its way through this node: what it says of them, their count, and what follows them. */
export const passedBytes = (answer: IncomingMessage, peerName: string): ByteAnswer => {
  const { headers, statusCode } = answer;
  const names = trailersIn(headers);
  const length = Number(headers['content-length'] ?? Number.NaN);
  const read = (): Record<string, string> =>
    Object.fromEntries(
      names.flatMap((name) => {
        const value = answer.trailers[name];
        return value === undefined ? [] : [[name, value] as const];
      }),
    );
  return {
    ...(statusCode === 206 ? { status: 206 } : {}),
    headers: passed(headers),
    ...(Number.isSafeInteger(length) ? { length } : {}),
    chunks: new PassedChunks(answer, peerName),
    ...(names.length === 0 ? {} : { trailer: { names, read } }),
  };
};
