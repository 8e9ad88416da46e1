import { parseJson } from '../../../kernel/parse-json.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import type { LargeFiles } from './large-files.ts';

/** Takes bytes as they come. */
export interface Sink {
  /** They are good until it returns. */
  take(bytes: Uint8Array): void;
  /** All have come; `value` is what was known only then. @returns the answer. */
  end(value?: unknown): Promise<unknown>;
  /** The rules have changed. Throws where these bytes may not be written any more; then nothing of them is left. */
  recheck?(): Promise<void>;
  /** They broke off: what is no use is removed. */
  abort(): void;
}

/** Which bytes of which open file. */
export interface Span {
  readonly file: number;
  readonly at: number;
  readonly to: number;
  /** Which `resume` it follows: what left before that is late. */
  readonly turn: number;
}

/** A stretch of a large file. */
export class PutSink implements Sink {
  readonly #files: LargeFiles;
  readonly #span: Span;

  /** @throws {LoopsyError} where they can't go there. */
  constructor(files: LargeFiles, span: Span) {
    this.#files = files;
    this.#span = span;
    files.begin(span);
  }

  take(bytes: Uint8Array): void {
    this.#files.write(this.#span, bytes);
  }

  recheck(): Promise<void> {
    return this.#files.recheck(this.#span.file);
  }

  async end(): Promise<Record<string, never>> {
    this.#files.end(this.#span);
    return {};
  }

  /** What has come stays, to be gone on with. */
  abort(): void {}
}

const MAX_JSON_BYTES = 8 * 1_048_576;

/** Collects a small body of JSON, and hands it on at its end. */
export class JsonSink implements Sink {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  readonly #take: (value: unknown) => Promise<unknown>;

  constructor(take: (value: unknown) => Promise<unknown>) {
    this.#take = take;
  }

  take(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    if (this.#bytes > MAX_JSON_BYTES) throw new LoopsyError('body_too_large');
    this.#chunks.push(Uint8Array.from(bytes));
  }

  async end(): Promise<unknown> {
    return this.#take(parseJson(Buffer.concat(this.#chunks).toString()));
  }

  abort(): void {
    this.#chunks.length = 0;
  }
}
