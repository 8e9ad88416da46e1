import type { NextChunk } from '../kernel/chunks.ts';

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body's bytes; undefined where it comes in chunks. */
  readonly length: number | undefined;
}

const MAX_HEAD_BYTES = 16_384;
const STATUS_LINE = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7E\x80-\xFF]*)?$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~\dA-Za-z-]+):[\t ]*([\t\x20-\x7E\x80-\xFF]*?)[\t ]*$/;
const CHUNK_LINE = /^[\dA-Fa-f]{1,8}$/;
const LENGTH = /^\d{1,15}$/;

/**
 * Reads the HTTP/1.1 answers of a node, one after the other: a body has a length or comes in chunks, and whatever could
 * be understood in two ways is refused. (`node:http` would take a quarter of a short command's time.)
 * @throws {Error} where an answer is cut or malformed: the connection is worthless then.
 */
export class AnswerReader {
  readonly #next: NextChunk;
  #rest: Buffer = Buffer.alloc(0);

  constructor(next: NextChunk) {
    this.#next = next;
  }

  /** True where nothing has come behind the last answer. */
  get isEmpty(): boolean {
    return this.#rest.length === 0;
  }

  async readHead(): Promise<AnswerHead> {
    const [first = '', ...lines] = (await this.#until('\r\n\r\n', MAX_HEAD_BYTES)).split('\r\n');
    const status = Number(STATUS_LINE.exec(first)?.[1] ?? malformed('its first line'));
    const headers = new Map<string, string>();
    for (const line of lines) addField(headers, line, 'a header');
    return { status, headers, length: bodyLength(status, headers) };
  }

  /** @returns what follows the body, by lower-case name. */
  async *readBody({ length }: AnswerHead): AsyncGenerator<Uint8Array, ReadonlyMap<string, string>> {
    const trailers = new Map<string, string>();
    if (length !== undefined) {
      yield* this.#take(length);
      return trailers;
    }
    for (;;) {
      const line = await this.#until('\r\n', 8);
      const size = CHUNK_LINE.test(line) ? Number.parseInt(line, 16) : malformed('the size of a chunk');
      if (size === 0) break;
      yield* this.#take(size);
      if ((await this.#until('\r\n', 0)) !== '') malformed('the end of a chunk');
    }
    for (let left = MAX_HEAD_BYTES; ;) {
      const trailer = await this.#until('\r\n', left);
      if (trailer === '') return trailers;
      addField(trailers, trailer, 'a trailer');
      left = Math.max(0, left - trailer.length);
    }
  }

  /** The text before `mark`, which ends it and is taken too. */
  async #until(mark: string, mostBytes: number): Promise<string> {
    for (;;) {
      const at = this.#rest.subarray(0, mostBytes + mark.length).indexOf(mark);
      if (at >= 0) {
        const text = this.#rest.toString('latin1', 0, at);
        this.#rest = this.#rest.subarray(at + mark.length);
        return text;
      }
      if (this.#rest.length >= mostBytes + mark.length) malformed('a line');
      const chunk = await this.#chunk();
      this.#rest = this.isEmpty ? chunk : Buffer.concat([this.#rest, chunk]);
    }
  }

  /** `bytes` bytes, passed on as they come. */
  async *#take(bytes: number): AsyncGenerator<Uint8Array, undefined> {
    for (let left = bytes; left > 0;) {
      const chunk = this.isEmpty ? await this.#chunk() : this.#rest;
      this.#rest = chunk.subarray(left);
      left -= Math.min(left, chunk.length);
      yield chunk.subarray(0, chunk.length - this.#rest.length);
    }
  }

  async #chunk(): Promise<Buffer> {
    const chunk = await this.#next();
    if (chunk === undefined) throw new Error('the connection was closed within an answer');
    return chunk;
  }
}

/** Adds a line of a head, or behind a body; what comes twice is a list. */
const addField = (fields: Map<string, string>, line: string, what: string): void => {
  const [, name = malformed(what), value = ''] = HEADER_LINE.exec(line) ?? [];
  const before = fields.get(name.toLowerCase());
  fields.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`);
};

const bodyLength = (status: number, headers: ReadonlyMap<string, string>): number | undefined => {
  const coding = headers.get('transfer-encoding');
  const length = headers.get('content-length');
  if (coding?.toLowerCase() === 'chunked' && length === undefined) return undefined;
  if (coding !== undefined) return malformed('the form of its body');
  if (status === 204 || status === 304) return 0;
  // A length that is given twice is a list, and so is refused too.
  return length !== undefined && LENGTH.test(length) ? Number(length) : malformed('the length of its body');
};

const malformed = (what: string): never => {
  throw new Error(`an answer that is not HTTP/1.1 as nodes speak it: ${what}`);
};
