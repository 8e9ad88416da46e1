import { once } from 'node:events';
import net from 'node:net';

/** How one client speaks to a server: one request at a time on one connection. */
export interface Dialect {
  readonly port: number;
  /** What is sent first, and how many answers that has. */
  readonly hello?: { readonly bytes: string; readonly answers: number };
  /** The next request. */
  readonly request: () => string | Buffer;
  /** How many bytes at the beginning are one whole answer; 0: not all of it is there. @throws where it is no good one. */
  readonly answerEnd: (bytes: Buffer) => number;
}

/** One connection with one request under way at a time. */
export class Lane {
  readonly #socket: net.Socket;
  readonly #dialect: Dialect;
  #held: Buffer = Buffer.alloc(0);
  #due: ((answer: Buffer | Error) => void) | undefined;

  private constructor(socket: net.Socket, dialect: Dialect) {
    this.#socket = socket;
    this.#dialect = dialect;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#due?.(error));
  }

  static async open(dialect: Dialect): Promise<Lane> {
    const socket = net.connect({ host: '127.0.0.1', port: dialect.port });
    const lane = new Lane(socket, dialect);
    await once(socket, 'connect');
    for (let at = 0; at < (dialect.hello?.answers ?? 0); at += 1)
      await lane.#ask(at === 0 ? (dialect.hello?.bytes ?? '') : '');
    return lane;
  }

  /** Resolves with the whole answer. */
  ask(): Promise<Buffer> {
    return this.#ask(this.#dialect.request());
  }

  close(): void {
    this.#due = undefined;
    this.#socket.destroy();
  }

  #ask(bytes: string | Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#due = (answer) => (answer instanceof Error ? reject(answer) : resolve(answer));
      if (bytes.length > 0) this.#socket.write(bytes);
      this.#settle();
    });
  }

  #take(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#settle();
  }

  #settle(): void {
    if (this.#due === undefined || this.#held.length === 0) return;
    const settle = this.#due;
    try {
      const end = this.#dialect.answerEnd(this.#held);
      if (end === 0) return;
      const answer = this.#held.subarray(0, end);
      this.#held = this.#held.subarray(end);
      this.#due = undefined;
      settle(answer);
    } catch (error) {
      this.#due = undefined;
      settle(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** Requests for `ms` over so many connections; a function makes a dialect for each. @returns requests a second. */
export const rateOf = async (
  dialect: Dialect | (() => Dialect),
  { lanes, ms }: { lanes: number; ms: number },
): Promise<number> => {
  const make = typeof dialect === 'function' ? dialect : () => dialect;
  const open = await Promise.all(Array.from({ length: lanes }, () => Lane.open(make())));
  const begun = performance.now();
  let count = 0;
  await Promise.all(
    open.map(async (lane) => {
      while (performance.now() - begun < ms) {
        await lane.ask();
        count += 1;
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  for (const lane of open) lane.close();
  return count / seconds;
};

/** So many requests over so many connections. */
export const askAll = async (dialect: Dialect, { lanes, count }: { lanes: number; count: number }): Promise<void> => {
  const open = await Promise.all(Array.from({ length: lanes }, () => Lane.open(dialect)));
  let left = count;
  await Promise.all(
    open.map(async (lane) => {
      while (left > 0) {
        left -= 1;
        await lane.ask();
      }
    }),
  );
  for (const lane of open) lane.close();
};

/** The end of an HTTP answer with a length. @throws where its status is no good one. */
export const httpEnd = (bytes: Buffer): number => {
  const head = bytes.indexOf('\r\n\r\n');
  if (head < 0) return 0;
  const text = bytes.toString('latin1', 0, head);
  if (!/^HTTP\/1\.1 20\d/.test(text)) throw new Error(bytes.toString('utf8', 0, 400));
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
  const end = head + 4 + length;
  return bytes.length < end ? 0 : end;
};

/** The end of a simple answer of redis: `+OK\r\n`. */
export const lineEnd = (bytes: Buffer): number => {
  const end = bytes.indexOf('\r\n');
  if (end < 0) return 0;
  if (bytes[0] === 0x2d) throw new Error(bytes.toString('utf8', 0, end));
  return end + 2;
};
