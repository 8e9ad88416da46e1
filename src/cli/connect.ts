import { createClient, type Client } from '../client/client.ts';
import { readJson } from '../client/errors.ts';
import type { Transport, TransportResponse } from '../client/transport.ts';
import type { Registration } from '../config/read-registration.ts';
import { newChallenge, verifyProof } from '../kernel/token-proof.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { OutputOf } from '../protocol/operations.ts';
import type { HEADERS } from '../protocol/requests.ts';
import { BASE_PATH, VERSION } from '../protocol/version.ts';
import { OneSocket } from './one-socket.ts';
import { Rewindable } from './rewindable.ts';

// The types tie these names to the table without loading it.
const CHALLENGE: (typeof HEADERS)['challenge'] = 'loopsy-challenge';
const PROOF: (typeof HEADERS)['proof'] = 'loopsy-proof';

const ANSWER_MS = 5000;
const MAX_RETRY_AFTER_S = 120;

/** What answered GET /health. */
type Health = OutputOf<'system.health'>;

/** The node of this data folder, which has shown that it holds the token. */
export interface LocalNode {
  readonly client: Client;
  /** The same, but it waits for nothing: for who has many requests, and one pace for them all. */
  readonly impatient: Client;
  readonly registration: Registration;
  readonly health: Health;
}

/** What a connection needs. */
export interface ConnectParts {
  readonly registration: Registration;
  /** `LOOPSY_API_KEY`, which wins over the registration's token. */
  readonly apiKey: string | undefined;
  /** Says something on stderr. */
  readonly note: (text: string) => void;
}

/**
 * Connects to the running node. Nothing secret is sent before the other end has shown that it holds the token, and
 * requests go out on proven connections alone.
 * @throws {LoopsyError} `node_not_running`, `invalid_key` (a wrong LOOPSY_API_KEY) or `request_timeout`.
 */
export const connectNode = async ({ registration, apiKey, note }: ConnectParts): Promise<LocalNode> => {
  const token = apiKey ?? registration.token;
  const first = await open(registration, token).catch(async (thrown: unknown) => {
    throw apiKey !== undefined && (await isProven(registration)) ? wrongKey() : thrown;
  });
  const pool = [first.socket];
  const transport: Transport = async (request) => {
    const proven = pool.find(({ free }) => free) ?? (await open(registration, token)).socket;
    if (!pool.includes(proven)) pool.push(proven);
    return proven.exchange({ ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } });
  };
  return {
    client: createClient({ transport: waitingOut(transport, note) }),
    impatient: createClient({ transport }),
    registration,
    health: first.health,
  };
};

/** A new connection whose other end has proved itself. */
const open = async (registration: Registration, token: string): Promise<{ socket: OneSocket; health: Health }> => {
  const { port } = registration;
  const socket = new OneSocket(port);
  const { header, nonce } = newChallenge(token);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    socket.close();
  }, ANSWER_MS);
  try {
    const headers = { accept: 'application/json', [CHALLENGE]: header };
    const response = await socket.exchange({ method: 'GET', path: `${BASE_PATH}/health`, headers });
    if (!verifyProof(response.header(PROOF), { token, nonce, port })) throw somethingElse(port);
    // The proof covers who answers: this is our node's own health.
    return { socket, health: (await readJson(response)) as Health };
  } catch (thrown) {
    socket.close();
    if (timedOut) {
      throw new LoopsyError('request_timeout', {
        message: `the node on port ${port} did not answer within ${ANSWER_MS / 1000} s`,
      });
    }
    throw thrown instanceof LoopsyError ? thrown : wasRefused(thrown) ? nothingThere(port) : somethingElse(port);
  } finally {
    clearTimeout(timer);
  }
};

/** True where nothing listens on the port that was dialled. */
const wasRefused = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === 'ECONNREFUSED';

const nothingThere = (port: number): LoopsyError =>
  new LoopsyError('node_not_running', { message: `the node is not running: nothing answers on its port ${port}` });

const somethingElse = (port: number): LoopsyError =>
  new LoopsyError('node_not_running', {
    message: `the node is not running: something else answers on its port ${port}`,
    hint: '`loopsy start` says who holds the port; nothing secret was sent to it',
  });

const wrongKey = (): LoopsyError =>
  new LoopsyError('invalid_key', {
    message: 'the node is running, but LOOPSY_API_KEY is no key of it',
    hint: 'unset LOOPSY_API_KEY, or set it to what `loopsy key show` prints',
  });

const isProven = async (registration: Registration): Promise<boolean> => {
  try {
    (await open(registration, registration.token)).socket.close();
    return true;
  } catch (thrown) {
    if (thrown instanceof LoopsyError) return false;
    throw thrown;
  }
};

/** Waits once where the node says when to come again, and says so. A body that has not left for good leaves again. */
const waitingOut =
  (transport: Transport, note: (text: string) => void): Transport =>
  async (request) => {
    const { body, signal } = request;
    const rewindable = typeof body === 'object' ? new Rewindable(body) : undefined;
    const send = (): Promise<TransportResponse> =>
      transport(rewindable === undefined ? request : { ...request, body: rewindable.bytes() });
    let isTaken = false;
    try {
      let response = await send();
      const seconds = Number(response.header('retry-after') ?? Number.NaN);
      if (response.status === 429 && rewindable?.isWhole !== false && seconds <= MAX_RETRY_AFTER_S) {
        note(`too many requests: waiting ${seconds} s, as the node asks`);
        await readJson(response);
        await pause(seconds * 1000, signal);
        response = await send();
      }
      isTaken = response.status < 400;
      return response;
    } finally {
      if (!isTaken) rewindable?.leave();
    }
  };

const pause = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new Error('aborted'));
    });
  });

/** One line where this command and the running node are of different versions. */
export const versionNote = (running: string): string | undefined => {
  if (running === VERSION) return undefined;
  return VERSION.localeCompare(running, 'en', { numeric: true }) > 0
    ? `this loopsy (${VERSION}) is newer than the running node (${running}): \`loopsy restart\` updates the node`
    : `this loopsy (${VERSION}) is older than the running node (${running}): update it, or use the one that started the node`;
};
