import http from 'node:http';
import type { TLSSocket } from 'node:tls';

import type { Clock } from '../../kernel/clock.ts';
import { collectText } from '../../kernel/collect.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { pause } from '../../kernel/sleep.ts';
import { errorFromBody, LoopsyError, type ErrorName } from '../../protocol/errors.ts';
import { rowOf, type OperationId } from '../../protocol/operations.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import { nodeIdOf, readMachineCertificate } from '../../trust/certificates.ts';
import type { Message } from '../../trust/pairing-messages.ts';
import { type Address, dialAnyone, formatAddress } from '../peers/dial.ts';

/** A stranger's step, as the joiner asks for it. */
export type Step = Extract<OperationId, 'pair.initiate' | 'pair.prove' | 'pair.reveal' | 'pair.settle'>;

/** What a host answered, and the certificate of the connection that brought it. */
interface HostAnswer {
  readonly body: unknown;
  /** DER. */
  readonly certificate: Buffer;
}

/** How a step is asked for. */
export interface AskOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For one request, connection and answer together. */
  readonly limitMs?: number;
  /** How often the same bytes may be sent. */
  readonly maxSends?: number;
  /** Why a machine is not the one to ask; it then receives no byte behind the handshake. */
  readonly refuse: (machineId: string) => LoopsyError | undefined;
  /** Told why the host is asked again only after a while; undefined once it is. */
  readonly onTrouble?: (text: string | undefined) => void;
}

const REQUEST_MS = 10_000;
const MAX_SENDS = 3;
const RESEND_PAUSE_MS = 250;
/** A node that many strangers call at once hangs up on some of them. */
const REDIAL_PAUSE_MS = 2000;
const MAX_DIALS = 6;
/** Whatever a host says: it does not set this machine's pace. */
const LEAST_WAIT_MS = 250;
/** For how long a host may tell to come again later. */
const PATIENCE_MS = 30_000;
const MAX_ANSWER_BYTES = 16_384;

const FIREWALLS = (port: number): string =>
  `is it awake, and is its firewall open? there: Linux \`sudo ufw allow ${port}/tcp\`; Windows \`netsh advfirewall firewall add rule name=loopsy dir=in action=allow protocol=TCP localport=${port}\`; macOS: System Settings, Network, Firewall, allow node`;

/** Who is no loopsy machine is told so; a filtered port, how to open it. */
const explain = (error: unknown, at: Address): unknown => {
  if (!(error instanceof LoopsyError)) return error;
  const { details } = error;
  if (error.error === 'peer_handshake') return notLoopsy(at);
  if (details?.['cause'] !== 'ETIMEDOUT' && details?.['cause'] !== 'EHOSTUNREACH') return error;
  return new LoopsyError(error.error, { message: error.message, hint: FIREWALLS(at.port), details });
};

const notLoopsy = (at: Address): LoopsyError =>
  new LoopsyError('peer_handshake', {
    message: `what answers at ${formatAddress(at)} is not a loopsy node`,
    hint: 'check the address and the port; `loopsy status` on the other machine shows both',
  });

/** Somebody else is at that address. */
export const notMeant = (at: Address): LoopsyError =>
  new LoopsyError('peer_handshake', {
    message: `another machine answers at ${formatAddress(at)} than the one that is meant`,
    hint: 'check the address; nothing was sent there',
  });

/** The certificate of whoever answers, DER: of a loopsy machine that may be asked. */
const certificateOf = (socket: TLSSocket, at: Address, refuse: AskOptions['refuse']): Buffer => {
  const certificate = socket.getPeerX509Certificate()?.raw;
  const machine = certificate === undefined ? undefined : readMachineCertificate(certificate);
  if (certificate === undefined || machine === undefined) throw notLoopsy(at);
  const reason = refuse(nodeIdOf(machine.spki));
  if (reason !== undefined) throw reason;
  return certificate;
};

/** The connection broke: whether the request arrived is not known. */
class Cut extends Error {
  override readonly name = 'Cut';
}

const exchange = (socket: TLSSocket, step: Step, { text, at }: { text: string; at: Address }) =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    const { method, path } = rowOf(step);
    const request = http.request({
      createConnection: () => socket,
      method,
      path: BASE_PATH + path,
      headers: {
        host: formatAddress(at),
        connection: 'close',
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      },
    });
    request.once('error', reject);
    // Destroyed by the time limit, it says nothing else.
    socket.once('close', () => reject(new Cut()));
    request.once('response', (response) => {
      const status = response.statusCode ?? 0;
      collectText(response, MAX_ANSWER_BYTES).then((body) => resolve({ status, text: body }), reject);
    });
    request.end(text);
  });

/** Sends a step once. @throws {Cut} where it may have arrived; `LoopsyError` where nobody is there, or no machine. */
const send = async (at: Address, step: Step, { text, signal, limitMs, refuse }: SendOptions) => {
  const limit = AbortSignal.timeout(limitMs);
  const socket = await dialAnyone(at, AbortSignal.any([signal, limit])).catch((error: unknown) => {
    throw explain(error, at);
  });
  const end = (): void => void socket.destroy();
  signal.addEventListener('abort', end, { once: true });
  limit.addEventListener('abort', end, { once: true });
  try {
    const certificate = certificateOf(socket, at, refuse);
    return { ...(await exchange(socket, step, { text, at })), certificate };
  } catch (error) {
    throw error instanceof LoopsyError ? error : new Cut(String(error));
  } finally {
    signal.removeEventListener('abort', end);
    limit.removeEventListener('abort', end);
    socket.destroy();
  }
};

interface SendOptions {
  readonly text: string;
  readonly signal: AbortSignal;
  readonly limitMs: number;
  readonly refuse: AskOptions['refuse'];
}

/** Answers whose meaning is this protocol's: told in this side's words, whatever the other side's are. */
const OWN_WORDS: ReadonlySet<ErrorName> = new Set([
  'pair_not_open',
  'pair_expired',
  'pair_wrong_code',
  'pair_busy',
  'pair_refused',
  'rate_limited',
  'peer_version',
]);
const MAX_WORDS = 300;

/** Why a host says that it is over, where the person can enter a code again at once. */
const EXPIRED: ReadonlyMap<unknown, { message: string; hint: string }> = new Map([
  [
    'replaced',
    {
      message: 'after too many wrong codes this one is no longer valid',
      hint: 'enter the new code that the other machine shows',
    },
  ],
  [
    'attempt',
    { message: 'this try took too long, and the code was not looked at', hint: 'enter the code again: it still holds' },
  ],
]);

/** What a host's refusal means here. Its own words are a stranger's. */
const refusalOf = (text: string, at: Address): LoopsyError => {
  const error = errorFromBody(parseJson(text));
  if (error === undefined) return notLoopsy(at);
  if (error.error === 'unknown_route')
    return new LoopsyError('peer_version', { message: `the loopsy at ${formatAddress(at)} can not pair` });
  if (OWN_WORDS.has(error.error)) {
    const { retryAfterMs, reason } = error.details ?? {};
    if (typeof retryAfterMs === 'number') return new LoopsyError(error.error, { details: { retryAfterMs } });
    return new LoopsyError(error.error, EXPIRED.get(error.error === 'pair_expired' ? reason : undefined));
  }
  return new LoopsyError('peer_handshake', {
    message: `${formatAddress(at)} refused: ${error.message.slice(0, MAX_WORDS)}`,
    hint: 'nothing was trusted; run `loopsy pair` again on both machines',
  });
};

/**
 * Asks a host for a step: the same bytes again where the connection broke, later where it says so.
 * @throws {LoopsyError} what it answered, or why it can't be asked.
 */
export const askHost = async (at: Address, [step, message]: readonly [Step, Message], options: AskOptions) => {
  const { clock, signal, limitMs = REQUEST_MS, maxSends = MAX_SENDS, refuse, onTrouble = () => undefined } = options;
  const text = JSON.stringify(message);
  const patientUntilMs = clock.monotonicMs() + PATIENCE_MS;
  for (const tries: Tries = { sends: 1, dials: 1, maxSends }; ;) {
    try {
      const { status, text: answer, certificate } = await send(at, step, { text, signal, limitMs, refuse });
      if (status === 200) return { body: parseJson(answer), certificate } satisfies HostAnswer;
      throw refusalOf(answer, at);
    } catch (error) {
      const waitMs = retryMs(error, tries);
      if (signal.aborted || waitMs === undefined || clock.monotonicMs() + waitMs > patientUntilMs)
        throw error instanceof Cut ? cutAt(at) : error;
      onTrouble(troubleOf(error, { at, waitMs }));
      await pause(waitMs, { clock, signal });
      onTrouble(undefined);
    }
  }
};

const cutAt = (at: Address): LoopsyError =>
  new LoopsyError('peer_unreachable', {
    message: `the connection to ${formatAddress(at)} was cut, or it did not answer in time`,
  });

interface Tries {
  sends: number;
  dials: number;
  readonly maxSends: number;
}

const isToldToWait = (error: unknown): boolean => error instanceof LoopsyError && error.error === 'rate_limited';

/** What a person reads meanwhile; nothing where that is not worth the time to read it. */
const troubleOf = (error: unknown, { at, waitMs }: { at: Address; waitMs: number }): string | undefined => {
  if (isToldToWait(error))
    return `${formatAddress(at)} asks to wait ${Math.ceil(waitMs / 1000)} s: too many tries in a short time`;
  return error instanceof LoopsyError ? `${error.message}; trying again` : undefined;
};

/** A stranger's number is none before it was looked at. */
const isSpan = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** When the same request may be sent again, counted as a further try; undefined: never. */
const retryMs = (error: unknown, tries: Tries): number | undefined => {
  if (error instanceof Cut) return (tries.sends += 1) > tries.maxSends ? undefined : RESEND_PAUSE_MS;
  if (!(error instanceof LoopsyError)) return undefined;
  const { retryAfterMs, cause } = error.details ?? {};
  if (isToldToWait(error)) return isSpan(retryAfterMs) ? Math.max(LEAST_WAIT_MS, retryAfterMs) : 1000;
  const isHungUp = error.error === 'peer_unreachable' && cause === 'ECONNRESET';
  if (!isHungUp || tries.maxSends === 1) return undefined;
  return (tries.dials += 1) > MAX_DIALS ? undefined : REDIAL_PAUSE_MS;
};
