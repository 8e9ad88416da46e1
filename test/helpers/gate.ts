import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A part of a connection that carries one request over TLS. */
type Part = 'request' | 'reply';

/** Which parts are held: of the connections in their order, from 1. */
export type Holds = (connection: number, part: Part) => boolean;

const NOTHING: Holds = () => false;

/**
 * A TCP relay that stops a step of a pairing at an exact point. TLS hides what is said, but each step has a connection
 * of its own: in it, what the client sends behind the server's hello is the request, and what comes then the reply.
 */
export class Gate {
  /** Connections that were made. */
  connections = 0;
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  readonly #clients = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #holds = NOTHING;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async open(target: number): Promise<Gate> {
    const gate = new Gate(target);
    await once(gate.#server.listen(0, '127.0.0.1'), 'listening');
    return gate;
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) return address.port;
    throw new Error('the gate is closed');
  }

  /** How many connections to it are open. */
  get open(): number {
    return this.#clients.size;
  }

  /** From now on these parts wait; those that pass already, pass. @returns when the first one waits. */
  hold(holds: Holds): Promise<void> {
    this.#holds = holds;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets everything pass. */
  release(): void {
    this.#holds = NOTHING;
    for (const pass of this.#held.splice(0)) pass();
  }

  /** Cuts what waits, and lets everything pass from now on. */
  cut(): void {
    this.#holds = NOTHING;
    this.#held.length = 0;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((done) => this.#server.close(done));
  }

  #accept(client: Socket): void {
    this.connections += 1;
    const at = this.connections;
    const target = connect(this.#target, '127.0.0.1');
    this.#clients.add(client.on('close', () => this.#clients.delete(client)));
    let part: Part | 'hello' = 'hello';
    let greeted = false;
    const end = (): void => {
      client.destroy();
      target.destroy();
    };
    for (const socket of [client, target]) {
      this.#sockets.add(socket.setNoDelay(true).on('error', end));
      socket.on('close', () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    client.on('data', (chunk: Buffer) => {
      if (greeted) part = 'request';
      this.#pass(() => target.write(chunk), part === 'request' && this.#holds(at, 'request'));
    });
    target.on('data', (chunk: Buffer) => {
      greeted = true;
      this.#pass(() => client.write(chunk), part === 'request' && this.#holds(at, 'reply'));
    });
  }

  #pass(pass: () => void, held: boolean): void {
    if (!held) return pass();
    this.#held.push(pass);
    for (const tell of this.#waiting.splice(0)) tell();
  }
}
