import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

import { errorCode } from '../../kernel/atomic-file.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import { LineReader } from '../../kernel/lines.ts';
import { equalInConstantTime } from '../../kernel/token-proof.ts';
import { errorFromBody, LoopsyError } from '../../protocol/errors.ts';
import { parseFields } from '../../protocol/record.ts';
import {
  lineOf,
  MAX_GREETING_BYTES,
  MAX_LINE_BYTES,
  type SupervisorEntry,
  wireProof,
  type WireAnswers,
  type WireNotice,
  type WireRequest,
  WIRE_VERSION,
} from './wire.ts';

const GREETING_MS = 1_500;
const ANSWER_MS = 15_000;
/** What waits for a supervisor that reads nothing: one longest line more at most. */
const MAX_UNSENT_BYTES = MAX_LINE_BYTES;

/** The connection to a supervisor is gone, or never was. What was asked on it may have happened. */
export class LinkLost extends Error {
  override readonly name = 'LinkLost';
  /** Nobody listens there. */
  readonly isRefused: boolean;

  constructor(message: string, { cause, isRefused = false }: { cause?: unknown; isRefused?: boolean } = {}) {
    super(message, { cause });
    this.isRefused = isRefused;
  }
}

/** True where what was asked for may happen, or have happened, all the same. */
export const isUnknown = (error: unknown): error is Error =>
  error instanceof LinkLost || (error instanceof LoopsyError && error.error === 'request_timeout');

/** What a link tells. */
export interface LinkOptions {
  readonly clock: Clock;
  readonly onNotice: (notice: WireNotice) => void;
  /** The connection broke, and not because this end closed it. */
  readonly onLost: () => void;
}

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

/** The node's end of a conversation with one supervisor; both ends have proved that they have its secret. */
export class SupervisorLink {
  readonly #socket: Socket;
  readonly #options: LinkOptions;
  readonly #pending = new Map<number, Pending>();
  #asked = 0;
  #closed = false;
  #isMute = false;

  private constructor(socket: Socket, options: LinkOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** @throws {LinkLost} where it doesn't answer, or is something else. */
  static async open(entry: SupervisorEntry, options: LinkOptions): Promise<SupervisorLink> {
    const socket = connect(entry.socket);
    const link = new SupervisorLink(socket, options);
    const timer = options.clock.after(GREETING_MS, () => socket.destroy(new Error('no greeting in time')));
    try {
      await link.#greet(entry);
    } catch (cause) {
      link.close();
      const isRefused = ['ENOENT', 'ECONNREFUSED'].includes(errorCode(cause) ?? '');
      throw new LinkLost(`supervisor ${entry.id} does not answer`, { cause, isRefused });
    } finally {
      timer.cancel();
    }
    return link;
  }

  /** True where it left something without an answer, and has said nothing since. */
  get isMute(): boolean {
    return this.#isMute;
  }

  /**
   * Asks for one thing. @throws {LoopsyError} what the supervisor answers; `request_timeout`; `rate_limited` where nothing
   * was sent, since too much waits. @throws {LinkLost}
   */
  ask<Kind extends keyof WireAnswers>(request: Extract<WireRequest, { do: Kind }>): Promise<WireAnswers[Kind]> {
    if (this.#closed) return Promise.reject(new LinkLost('the link is closed'));
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) {
      const message = 'the supervisor of detached runs is far behind: this was not passed on to it';
      return Promise.reject(new LoopsyError('rate_limited', { message }));
    }
    const n = (this.#asked += 1);
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(ANSWER_MS, () => {
        this.#pending.delete(n);
        this.#isMute = true;
        reject(new LoopsyError('request_timeout', { message: 'the supervisor of detached runs does not answer' }));
      });
      this.#pending.set(n, { resolve, reject, timer });
      this.#socket.write(lineOf({ ...request, n }));
    });
  }

  /** Ends the connection; runs go on. */
  close(): void {
    this.#closed = true;
    this.#socket.destroy();
    this.#rejectAll();
  }

  #greet(entry: SupervisorEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      const own = randomBytes(16).toString('hex');
      let theirs: string | undefined;
      let isProven = false;
      const lines = new LineReader(() => (isProven ? MAX_LINE_BYTES : MAX_GREETING_BYTES));
      const read = (line: string): void => {
        const fields = parseFields(line) ?? {};
        if (isProven) return this.#hear(fields);
        if (theirs === undefined) {
          theirs = String(fields['nonce']);
          this.#socket.write(lineOf({ nonce: own, proof: wireProof(entry.secret, 'node', { theirs, own }) }));
          return;
        }
        // A newer one than this node knows goes on by itself.
        isProven =
          fields['wire'] === WIRE_VERSION &&
          equalInConstantTime(
            String(fields['proof']),
            wireProof(entry.secret, 'supervisor', { theirs: own, own: theirs }),
          );
        if (!isProven) throw new Error('it is another one, or of another version');
        resolve();
      };
      this.#socket.on('data', (chunk: Buffer) => {
        try {
          for (const line of lines.read(chunk)) read(line);
        } catch (error) {
          this.#socket.destroy(error instanceof Error ? error : new Error(String(error)));
        }
      });
      this.#socket.on('error', reject);
      this.#socket.on('close', () => {
        reject(new Error('the connection was closed'));
        if (isProven) this.#onClose();
      });
    });
  }

  /** The supervisor has proved itself: its messages are what `wire.ts` says. */
  #hear(fields: Readonly<Record<string, unknown>>): void {
    this.#isMute = false;
    if ('notice' in fields) return this.#options.onNotice(fields as unknown as WireNotice);
    const pending = this.#pending.get(Number(fields['re']));
    if (pending === undefined) return;
    this.#pending.delete(Number(fields['re']));
    pending.timer.cancel();
    const error = errorFromBody(fields);
    if (error === undefined) pending.resolve(fields as never);
    else pending.reject(error);
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rejectAll();
    this.#options.onLost();
  }

  #rejectAll(): void {
    for (const { reject, timer } of this.#pending.values()) {
      timer.cancel();
      reject(new LinkLost('the connection to the supervisor broke'));
    }
    this.#pending.clear();
  }
}
