import { connect, createServer, type Server, type Socket } from 'node:net';

import { randomFrom } from './seed.ts';

/** What happens to the connections that are made from now on. */
export interface Chaos {
  /** The answers' bytes that a connection carries before it is cut: a random number up to this. */
  readonly cutWithin?: number;
  /** The same for the bytes of what is asked. */
  readonly cutAskedWithin?: number;
  /** Cuts altogether; then everything passes. */
  readonly maxCuts?: number;
  /** Each chunk waits so long. */
  readonly delayMs?: number;
}

const CALM: Chaos = {};

/** A connection through the relay. */
interface Pair {
  readonly client: Socket;
  readonly target: Socket;
}

/** Where a relay leads. */
export interface RelayTarget {
  readonly port: number;
  /**
   * The address that the target sees as the caller's. One of its own for each relay, as behind a router, so that
   * nodes can't find a way around it.
   */
  readonly from: string;
  readonly seed?: number;
}

/** A TCP relay on loopback that does to connections what networks do. */
export class Relay {
  /** Connections that it has cut. */
  cuts = 0;
  /** Connections that were made. */
  connections = 0;
  readonly #target: RelayTarget;
  readonly #random: () => number;
  readonly #pairs = new Set<Pair>();
  readonly #server: Server;
  #chaos = CALM;
  #refuses = false;
  #stalled = false;
  #dead = false;

  private constructor(target: RelayTarget) {
    this.#target = target;
    this.#random = randomFrom(target.seed ?? 0);
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  static async open(target: RelayTarget): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((done, failed) => {
      relay.#server.once('error', failed);
      relay.#server.listen(0, '127.0.0.1', done);
    });
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) return address.port;
    throw new Error('the relay is closed');
  }

  /** Changes what happens to new connections; those that are there stay as they are. */
  set chaos(chaos: Chaos) {
    this.#chaos = chaos;
    this.cuts = 0;
  }

  /** New connections are closed at once. */
  set refuses(refuses: boolean) {
    this.#refuses = refuses;
  }

  /** No answer passes any more, in silence, and nothing is closed: a way that works in one direction. */
  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    for (const { target } of this.#pairs) {
      if (stalled) target.pause();
      else target.resume();
    }
  }

  /** Nothing passes any more in either direction, the end of a connection neither: what lies behind was switched off. */
  set dead(dead: boolean) {
    this.#dead = dead;
    this.stalled = dead;
    for (const pair of [...this.#pairs]) {
      if (dead) pair.client.pause();
      else if (pair.client.destroyed || pair.target.destroyed) this.#cut(pair);
      else pair.client.resume();
    }
  }

  /** Cuts every connection there is. */
  cutAll(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair);
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((done) => this.#server.close(done));
  }

  #accept(client: Socket): void {
    if (this.#refuses) return void client.destroy();
    this.connections += 1;
    const { port, from } = this.#target;
    const target = connect({ host: '127.0.0.1', port, localAddress: from, allowHalfOpen: true });
    const pair = { client, target };
    this.#pairs.add(pair);
    const end = (): void => {
      if (this.#dead) return;
      this.#pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    for (const socket of [client, target]) socket.setNoDelay(true).on('error', end).on('close', end);
    this.#carry(pair, client, target);
    this.#carry(pair, target, client);
    if (this.#stalled) target.pause();
    if (this.#dead) client.pause();
  }

  /** Carries what comes from one side to the other. */
  #carry(pair: Pair, from: Socket, to: Socket): void {
    const { cutWithin, cutAskedWithin, delayMs = 0 } = this.#chaos;
    const isAnswer = from === pair.target;
    const within = isAnswer ? cutWithin : cutAskedWithin;
    let left = within === undefined ? Infinity : Math.floor(this.#random() * within);
    from.on('data', (chunk: Buffer) => {
      const passes = chunk.subarray(0, left);
      const cut = left < chunk.length && this.cuts < (this.#chaos.maxCuts ?? Infinity);
      left -= chunk.length;
      const pass = (): void => {
        const taken = to.write(cut ? passes : chunk, () => cut && this.#cut(pair));
        if (taken || from.isPaused()) return;
        from.pause();
        to.once('drain', () => this.#dead || (isAnswer && this.#stalled) || from.resume());
      };
      if (cut) this.cuts += 1;
      if (cut) from.pause();
      if (delayMs === 0 || !isAnswer) pass();
      else setTimeout(pass, delayMs);
    });
    from.on('end', () => to.end());
  }

  #cut(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.target.resetAndDestroy();
  }
}

/** Why nodes can't be kept to a relay here; undefined where they can. */
export const NO_RELAYS =
  process.platform === 'darwin' ? 'needs a second loopback address, which macOS does not have' : undefined;
