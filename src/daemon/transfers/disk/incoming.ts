import { parseJson } from '../../../kernel/parse-json.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import type { ChunkWriter } from './chunk-writer.ts';
import type { LargeFiles } from './large-files.ts';

/** Takes bytes as they come. */
export interface Sink {
  take(chunks: readonly Uint8Array[]): void;
  /** All have come; `value` is what was known only then. @returns the answer. */
  end(value?: unknown): Promise<unknown>;
  /** They broke off: what is no use is removed. */
  abort(): void;
}

/** Which chunk of which open file. */
export interface ChunkOf {
  readonly file: number;
  readonly chunk: number;
}

/** One chunk of a large file. */
export class PutSink implements Sink {
  readonly #files: LargeFiles;
  readonly #of: ChunkOf;
  readonly #writer: ChunkWriter;

  constructor(files: LargeFiles, of: ChunkOf) {
    this.#files = files;
    this.#of = of;
    this.#writer = files.chunk(of.file, of.chunk);
  }

  take(chunks: readonly Uint8Array[]): void {
    try {
      this.#writer.write(chunks);
    } catch (thrown) {
      throw this.#files.fail(this.#of.file, thrown);
    }
  }

  async end(): Promise<Record<string, never>> {
    this.#files.endChunk(this.#of, this.#writer);
    return {};
  }

  /** It will come again, from its begin. */
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

  take(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#bytes += chunk.length;
    if (this.#bytes > MAX_JSON_BYTES) throw new LoopsyError('body_too_large');
    this.#chunks.push(...chunks);
  }

  async end(): Promise<unknown> {
    return this.#take(parseJson(Buffer.concat(this.#chunks).toString()));
  }

  abort(): void {
    this.#chunks.length = 0;
  }
}
