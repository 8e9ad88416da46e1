import type { Clock } from '../../kernel/clock.ts';
import { sleep } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { takesBytes } from '../../protocol/operation.ts';
import type { Exchange } from './exchange.ts';
import { LinkCut } from './link.ts';
import { linkError } from './peer-errors.ts';

/** How long a broken exchange is tried again: shorter than the peer's patience with a lost connection. */
const RETRY_MS = 8000;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1000;
/** Handshakes that may be cut off before the first one that is not. */
const MAX_DIALS = 4;
/** From then on a broken exchange gets no more time, however often the peer is reached. */
const MAX_CONTACTS = 2000;

/** One try; `repeatAgeMs` is there where an earlier one may have reached the peer. */
export type Attempt<T> = (repeatAgeMs: number | undefined) => Promise<T>;

/**
 * Tries what may have begun again. With each contact the peer's patience begins anew, and with it the time that is
 * left to an effect; a read gets no more than the first. `begun`: an earlier exchange has begun it.
 * @throws {LoopsyError} `execution_cancelled` where the caller has left, `outcome_unknown` where an effect may have
 *   happened, or why the peer could not be asked.
 */
export const retry = async <T>(
  exchange: Exchange,
  attempt: Attempt<T>,
  { clock, begun }: { clock: Clock; begun: boolean },
): Promise<T> => {
  const { op, request } = exchange;
  refuseOlderThanStart(exchange, clock);
  const ageMs = repeatAge(exchange, clock);
  let maybeDone = begun || request.call.repeatAgeMs !== undefined;
  let endAtMs = clock.monotonicMs() + RETRY_MS;
  let pauseMs = FIRST_PAUSE_MS;
  for (let [contacts, dials] = [0, 0]; ;) {
    try {
      return await attempt(maybeDone ? ageMs() : undefined);
    } catch (error) {
      if (request.call.signal.aborted)
        throw new LoopsyError('execution_cancelled', { message: 'the request was abandoned' });
      if (error instanceof LinkCut && error.sent) {
        contacts += 1;
        pauseMs = FIRST_PAUSE_MS;
        if (contacts === 1 || (op.effect && contacts < MAX_CONTACTS)) endAtMs = clock.monotonicMs() + RETRY_MS;
        maybeDone = true;
      }
      dials += 1;
      const inTime = maybeDone ? clock.monotonicMs() < endAtMs : wasReset(error) && dials < MAX_DIALS;
      if (!inTime || !canRepeat(error, exchange)) throw finalError(error, exchange, maybeDone);
      await sleep(pauseMs, clock);
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
  }
};

/** The first attempt at what the caller repeats may have gone to an earlier start of the peer, whose results are gone. */
const refuseOlderThanStart = ({ op, request, way }: Exchange, clock: Clock): void => {
  const { repeatAgeMs } = request.call;
  if (!op.effect || repeatAgeMs === undefined || repeatAgeMs < clock.monotonicMs() - way.bootAtMs) return;
  throw new LoopsyError('outcome_unknown', {
    message: `${way.name} may have restarted since this was first asked: whether it was done there is not known`,
  });
};

/**
 * For how long the peer may have kept a result: since the caller's first attempt, and then, for a stream, whose run the
 * peer knows from its begin on, all the time since. A buffered answer is kept from its end on, and a run may take hours
 * before: there it is the time that this machine slept, which no monotonic clock counts, and that since the exchange
 * broke.
 */
const repeatAge = ({ op, request }: Exchange, clock: Clock): (() => number) => {
  const [wallMs, monotonicMs] = [clock.now(), clock.monotonicMs()];
  const callersMs = request.call.repeatAgeMs ?? 0;
  return () => {
    const awakeMs = clock.monotonicMs() - monotonicMs;
    const sleptMs = Math.max(0, clock.now() - wallMs - awakeMs);
    return Math.round(callersMs + sleptMs + (op.kind === 'stream' ? Math.max(awakeMs, RETRY_MS) : RETRY_MS));
  };
};

/** The peer was not reached, or its answer didn't come: nothing that it said. */
const isLinkFailure = (error: unknown): boolean =>
  error instanceof LinkCut || (error instanceof LoopsyError && error.error === 'peer_unreachable');

/** A byte body can't be sent twice. */
const canRepeat = (error: unknown, { op }: Exchange): boolean => !takesBytes(op) && isLinkFailure(error);

/** Someone was there, and was cut off in the middle of the handshake: nothing was sent. */
const wasReset = (error: unknown): boolean => error instanceof LoopsyError && error.details?.['cause'] === 'ECONNRESET';

const finalError = (thrown: unknown, { request, way }: Exchange, maybeDone: boolean): unknown => {
  const error = thrown instanceof LinkCut ? linkError(thrown, way.name) : thrown;
  if (!(error instanceof LoopsyError) || !isLinkFailure(thrown)) return error;
  const { message } = error;
  if (maybeDone && request.op.effect) {
    return new LoopsyError('outcome_unknown', {
      message: `${message}: whether this was done on ${way.name} is not known`,
      cause: error,
    });
  }
  if (error.error !== 'peer_unreachable' || way.offline === undefined) return error;
  return new LoopsyError('peer_offline', { message: `${way.name} is offline: ${message}`, cause: error });
};
