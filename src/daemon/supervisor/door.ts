import { randomBytes } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';

import type { Clock, Timer } from '../../kernel/clock.ts';
import { LineReader } from '../../kernel/lines.ts';
import { equalInConstantTime } from '../../kernel/token-proof.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { parseFields } from '../../protocol/record.ts';
import { VERSION } from '../../protocol/version.ts';
import {
  lineOf,
  MAX_GREETING_BYTES,
  MAX_LINE_BYTES,
  type WireAsked,
  type WireNotice,
  wireProof,
  WIRE_VERSION,
} from '../jobs/wire.ts';

const GREETING_MS = 3_000;
const MAX_CONNECTIONS = 16;
/** A node that takes nothing for so long that this much waits is cut off; it comes back and asks what is new. */
const MAX_UNREAD_BYTES = 8 * 1_048_576;

/** Carries out one request of a node that has proved itself; `link` stands for its connection. */
type CarryOut = (request: WireAsked, link: object) => Promise<object>;

/** What the door needs. */
export interface DoorOptions {
  readonly socket: string;
  readonly secret: string;
  readonly clock: Clock;
  readonly platform: NodeJS.Platform;
  readonly carryOut: CarryOut;
  /** A connection is gone. */
  readonly onLeft: (link: object) => void;
}

/** Where nodes come in: nothing is heard of anyone who has not shown that it has the secret, which is not sent. */
export class Door {
  readonly #options: DoorOptions;
  readonly #server: Server;
  readonly #visitors = new Set<Visitor>();

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#enter(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  async open(): Promise<void> {
    const { socket, platform } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socket, resolve);
    });
    if (platform !== 'win32') await chmod(socket, 0o600);
  }

  get isEmpty(): boolean {
    return this.#visitors.size === 0;
  }

  /** Lets nobody in any more. Those who are inside stay. */
  close(): void {
    this.#server.close();
  }

  /** Tells all nodes. */
  tell(notice: WireNotice): void {
    for (const visitor of this.#visitors) visitor.tell(notice);
  }

  #enter(socket: Socket): void {
    const visitor = new Visitor(socket, this.#options);
    this.#visitors.add(visitor);
    socket.on('close', () => {
      this.#visitors.delete(visitor);
      this.#options.onLeft(visitor);
    });
  }
}

/** One connection. */
class Visitor {
  readonly #socket: Socket;
  readonly #options: DoorOptions;
  readonly #nonce = randomBytes(16).toString('hex');
  readonly #patience: Timer;
  #isProven = false;

  constructor(socket: Socket, options: DoorOptions) {
    this.#socket = socket;
    this.#options = options;
    const lines = new LineReader(() => (this.#isProven ? MAX_LINE_BYTES : MAX_GREETING_BYTES));
    this.#patience = options.clock.after(GREETING_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#patience.cancel());
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of lines.read(chunk)) this.#hear(parseFields(line));
      } catch {
        // It speaks otherwise, or too long: there is nothing to answer.
        socket.destroy();
      }
    });
    this.#say({ wire: WIRE_VERSION, nonce: this.#nonce });
  }

  tell(notice: WireNotice): void {
    if (this.#isProven) this.#say(notice);
  }

  #hear(fields: Readonly<Record<string, unknown>> | undefined): void {
    if (this.#socket.destroyed) return;
    if (fields === undefined) throw new Error('no message');
    if (!this.#isProven) return this.#greet(String(fields['nonce']), String(fields['proof']));
    // Whoever has the secret is this user's node.
    const request = fields as unknown as WireAsked;
    void this.#answer(request);
  }

  #greet(theirs: string, proof: string): void {
    const { secret } = this.#options;
    const own = this.#nonce;
    if (!equalInConstantTime(proof, wireProof(secret, 'node', { theirs: own, own: theirs })))
      throw new Error('no proof');
    this.#isProven = true;
    this.#patience.cancel();
    this.#say({ wire: WIRE_VERSION, version: VERSION, proof: wireProof(secret, 'supervisor', { theirs, own }) });
  }

  async #answer(request: WireAsked): Promise<void> {
    try {
      this.#say({ ...(await this.#options.carryOut(request, this)), re: request.n });
    } catch (thrown) {
      const error = thrown instanceof LoopsyError ? thrown : new LoopsyError('internal', { message: String(thrown) });
      this.#say({ ...error.toBody(), re: request.n });
    }
  }

  #say(message: object): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(lineOf(message));
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) this.#socket.destroy();
  }
}
