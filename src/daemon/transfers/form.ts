import type { Readable } from 'node:stream';

import type { Busboy, BusboyFileStream } from '@fastify/busboy';

import { GatheredChunks } from '../../kernel/gathered-chunks.ts';
import { LoopsyError } from '../../protocol/errors.ts';

/** A form that is read as it comes. */
export interface Form {
  /** Those that stood before the file. */
  readonly fields: Readonly<Record<string, string>>;
  /** The last part of the name that the file had with its sender, where it said one. */
  readonly fileName?: string;
  /** Each chunk is good until the next is asked for. Throws where the form is cut or is none. */
  readonly file: AsyncIterable<Uint8Array>;
  /**
   * Resolves with all fields, also those behind the file, when the form has ended.
   * @throws {LoopsyError} `invalid_request` where it is no sound form, `request_timeout` where it is cut.
   */
  end(): Promise<Readonly<Record<string, string>>>;
}

const FILE = 'file';
const MAX_FIELDS = 16;
const MAX_FIELD_BYTES = 65_536;
const LIMITS = {
  fieldSize: MAX_FIELD_BYTES,
  fields: MAX_FIELDS,
  files: 1,
  parts: MAX_FIELDS + 1,
  headerPairs: 16,
  headerSize: 16_384,
};
/** What waits of the file before its sender has to. */
const FILE_WAITING_BYTES = 262_144;

const notSound = (message: string, cause?: unknown): LoopsyError =>
  new LoopsyError('invalid_request', { message, ...(cause === undefined ? {} : { cause }) });

const ignore = (): void => undefined;

/** Reads one form; the first thing that is wrong with it ends it. */
class FormReader {
  readonly begun: Promise<Form>;
  readonly #body: Readable;
  readonly #parser: Busboy;
  readonly #fields = new Map<string, string>();
  readonly #ended: Promise<Readonly<Record<string, string>>>;
  #file: BusboyFileStream | undefined;
  #begin: (form: Form) => void = ignore;
  #end: (fields: Readonly<Record<string, string>>) => void = ignore;
  #fail: (error: Error) => void = ignore;
  #isOver = false;

  constructor(body: Readable, parser: Busboy) {
    this.#body = body;
    this.#parser = parser;
    let refuse: (error: Error) => void = ignore;
    this.begun = new Promise((resolve, reject) => ([this.#begin, refuse] = [resolve, reject]));
    this.#ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = (error) => {
        refuse(error);
        reject(error);
      };
    });
    // Who reads the file hears of it there.
    this.#ended.catch(ignore);
    parser.on('field', (name, value, ...[isNameCut, isCut]) => this.#take(name, value, isNameCut || isCut));
    parser.on('file', (name, file, fileName) => this.#takeFile(name, file, fileName));
    parser.on('fieldsLimit', () => this.#refuse(`a form has at most ${MAX_FIELDS} fields`));
    parser.on('partsLimit', () => this.#refuse(`a form has at most ${MAX_FIELDS} fields and one file`));
    parser.on('filesLimit', () => this.#refuse('a form has one file'));
    parser.on('error', (error) => this.#over(notSound('the form is not sound, or ended before its end', error)));
    parser.on('finish', () => this.#finish());
    body.on('error', (error) => this.#cut(error));
    body.on('close', () => this.#cut());
    body.pipe(parser);
  }

  /** Some parts have no name. */
  #take(name: string | undefined, value: string, isCut: boolean): void {
    if (name === undefined) return this.#refuse('a field of the form has no name');
    if (isCut) return this.#refuse(`the field "${name}" is longer than ${MAX_FIELD_BYTES} bytes`);
    if (value.includes('\uFFFD')) return this.#refuse(`the field "${name}" is not UTF-8`);
    if (this.#fields.has(name)) return this.#refuse(`the field "${name}" is there twice`);
    this.#fields.set(name, value);
  }

  #takeFile(name: string | undefined, file: BusboyFileStream, fileName: string | undefined): void {
    file.on('error', ignore);
    if (name !== FILE) {
      file.resume();
      return this.#refuse(`the file of a form is its field "${FILE}", not "${name ?? ''}"`);
    }
    this.#file = file;
    this.#begin({
      fields: this.#known(),
      ...(fileName === undefined || fileName === '' ? {} : { fileName }),
      file: new GatheredChunks(file, () => this.#leave()),
      end: () => this.#ended,
    });
  }

  #finish(): void {
    if (this.#file === undefined) this.#refuse(`the form has no file: its field "${FILE}" is missing`);
    this.#isOver = true;
    this.#end(this.#known());
  }

  #known(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#fields);
  }

  /** Nobody wants the rest of the file: nothing more is read. */
  #leave(): void {
    this.#over(new LoopsyError('request_timeout', { message: 'the form was not read to its end' }));
  }

  #refuse(message: string): void {
    this.#over(notSound(message));
  }

  #cut(cause?: Error): void {
    if (this.#body.readableEnded) return;
    const parts = { message: 'the form ended before its end', ...(cause === undefined ? {} : { cause }) };
    this.#over(new LoopsyError('request_timeout', parts));
  }

  #over(error: LoopsyError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // The rest is for who answers.
    this.#body.unpipe(this.#parser);
    this.#file?.destroy(error);
    this.#fail(error);
  }
}

const parserFor = async (contentType: string): Promise<Busboy> => {
  // When it is needed: no node starts later for it.
  const { Busboy: Parser } = await import('@fastify/busboy');
  return new Parser({
    headers: { 'content-type': contentType },
    limits: LIMITS,
    fileHwm: FILE_WAITING_BYTES,
    isPartAFile: (name, _type, fileName) => name === FILE || fileName !== undefined,
  });
};

/**
 * Reads a form up to its file. Fields may come on both sides of it; what is not taken is not read.
 * @throws {LoopsyError} `invalid_request` where there is no form, no file, or more of either than there may be;
 *   `request_timeout` where it is cut.
 */
export const readForm = async (body: Readable, contentType: string | undefined): Promise<Form> => {
  // It may be cut before it is looked at.
  body.on('error', ignore);
  const parser = await parserFor(contentType ?? '').catch((cause: unknown) => {
    throw notSound('this is no form: multipart/form-data with a boundary is wanted', cause);
  });
  return new FormReader(body, parser).begun;
};
