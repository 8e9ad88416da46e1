import { once } from 'node:events';
import net, { type Server, type Socket } from 'node:net';

/** One address to listen on. */
export interface Binding {
  readonly host: string;
  /** What to listen on instead where the system has no IPv6; `none`: nothing. */
  readonly withoutIpv6?: string;
}

const IPV4_LOOPBACK: Binding = { host: '127.0.0.1' };
const IPV6_LOOPBACK: Binding = { host: '::1', withoutIpv6: 'none' };
const LOOPBACK_NAMES = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * The addresses that `server.host` stands for. `0.0.0.0` and `::` mean every address of both families, in one
 * dual-stack socket, so that nobody else can take `[::1]`. Any other host brings both loopback addresses
 * with it: local clients dial 127.0.0.1.
 */
export const bindAddresses = (host: string, localOnly = false): Binding[] => {
  if (!localOnly && (host === '0.0.0.0' || host === '::')) return [{ host: '::', withoutIpv6: '0.0.0.0' }];
  const loopback = [IPV4_LOOPBACK, IPV6_LOOPBACK];
  return localOnly || LOOPBACK_NAMES.has(host) ? loopback : [{ host }, ...loopback];
};

/** Why the node can't listen; the caller explains it (who holds the port, which address is missing). */
export class ListenFailure extends Error {
  override readonly name = 'ListenFailure';
  /** The system's code: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, … */
  readonly code: string;
  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number, cause: unknown) {
    const code = codeOf(cause);
    super(`can't listen on ${host.includes(':') ? `[${host}]` : host}:${port}: ${code}`, { cause });
    this.code = code;
    this.host = host;
    this.port = port;
  }
}

const NO_IPV6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT', 'EINVAL']);

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'UNKNOWN';

/**
 * Makes a server listen on a binding. False where the system has no such address and the binding can do without.
 * @throws {ListenFailure}
 */
const listenOn = async (server: Server, binding: Binding, port: number): Promise<boolean> => {
  const { host, withoutIpv6 } = binding;
  try {
    server.listen({ host, port });
    await once(server, 'listening');
    return true;
  } catch (error) {
    if (withoutIpv6 === undefined || !NO_IPV6.has(codeOf(error))) throw new ListenFailure(host, port, error);
    return withoutIpv6 === 'none' ? false : await listenOn(server, { host: withoutIpv6 }, port);
  }
};

/** What the sockets of the port do with what comes. */
export interface FrontHandlers {
  readonly accept: (socket: Socket) => void;
  /** The system could not accept a connection: too many open files, for example. */
  readonly fail: (error: Error) => void;
}

const TRIES = 10;

/** The listening sockets: all on the same port. */
export class Fronts {
  readonly #handlers: FrontHandlers;
  readonly #servers: Server[] = [];
  /** Asking a server for it costs a part of a short run. */
  #port = 0;

  constructor(handlers: FrontHandlers) {
    this.#handlers = handlers;
  }

  /**
   * Listens on all bindings, or on none. Port 0: any that is free on all of them.
   * @throws {ListenFailure}
   */
  async open(bindings: readonly Binding[], port: number): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        for (const binding of bindings) await this.#openOne(binding, port === 0 ? this.port : port);
        return;
      } catch (error) {
        await this.close();
        const isTaken = error instanceof ListenFailure && error.code === 'EADDRINUSE';
        if (port !== 0 || !isTaken || attempt === TRIES) throw error;
      }
    }
  }

  /** Accepts nothing more at once; resolves when the last accepted connection is gone. */
  async close(): Promise<void> {
    const servers = this.#servers.splice(0);
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  /** 0 where it does not listen. */
  get port(): number {
    return this.#servers.length === 0 ? 0 : this.#port;
  }

  /** `127.0.0.1:19532`, `[::]:19532`. */
  get addresses(): string[] {
    return this.#servers.map(addressText);
  }

  async #openOne(binding: Binding, port: number): Promise<void> {
    const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
    server.on('connection', this.#handlers.accept);
    if (!(await listenOn(server, binding, port))) return;
    server.on('error', this.#handlers.fail);
    this.#servers.push(server);
    const bound = server.address();
    this.#port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  }
}

const addressText = (server: Server): string => {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return String(bound);
  return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
};
