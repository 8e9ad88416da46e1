import { LoopsyError } from '../../../protocol/errors.ts';
import type { Draft } from './draft.ts';
import { fileError, fileFault } from './faults.ts';
import type { FileWriter } from './file-writer.ts';
import type { Span } from './incoming.ts';
import type { Journal } from './journal.ts';
import type { WantedFile } from './wanted.ts';

/** Each is an open file. */
const MAX_OPEN = 64;
/** Answers that can be asked for again. */
const MAX_DONE = 64;

/** An open large file. */
export interface Prepared {
  readonly file: number;
  /** sha256 of each chunk that is there. */
  readonly hashes: readonly string[];
}

/** What is said of a file that is there now. `skipped`: another one, which has come meanwhile, and is left alone. */
export interface Committed {
  readonly skipped?: 1;
  readonly checksum?: string;
}

/** The large files of one target: each comes in chunks, and what was cut off is gone on with. */
export class LargeFiles {
  readonly #writer: FileWriter;
  readonly #journal: Journal;
  readonly #open = new Map<number, Draft>();
  /** By place: what is being opened. */
  readonly #opening = new Map<string, Promise<unknown>>();
  readonly #committing = new Map<number, Promise<Committed>>();
  /** Which of those who write a file came last. */
  readonly #writing = new WeakMap<Draft, Span>();
  /** How often it was asked where a file is to be gone on with. */
  readonly #turns = new WeakMap<Draft, number>();
  #lastFile = 0;
  #isClosed = false;

  constructor(writer: FileWriter, journal: Journal) {
    this.#writer = writer;
    this.#journal = journal;
  }

  /** Opens one. Asked for again, because an answer was lost, it looks anew at what is there. */
  async prepare(file: WantedFile): Promise<Prepared> {
    const [root, path] = file;
    const place = `${root}/${path}`;
    const before = this.#opening.get(place);
    if (before === undefined && this.#open.size + this.#opening.size >= MAX_OPEN)
      throw new LoopsyError('invalid_request', { message: `more than ${MAX_OPEN} large files are open at once` });
    const opening = this.#prepare(file, place, before);
    this.#opening.set(place, opening);
    try {
      return await opening;
    } finally {
      if (this.#opening.get(place) === opening) this.#opening.delete(place);
    }
  }

  async #prepare(file: WantedFile, place: string, before: Promise<unknown> | undefined): Promise<Prepared> {
    await before?.catch(() => undefined);
    for (const [number, draft] of this.#open) if (placeOf.get(draft) === place) this.#let(number);
    if (this.#isClosed) throw new LoopsyError('transfer_not_found');
    const wanted = this.#writer.lock(file);
    const name = wanted.folder.realOf(wanted.draft);
    try {
      this.#journal.addLarge(name);
    } catch (thrown) {
      this.#writer.unlock(wanted);
      throw thrown;
    }
    const { draft, hashes } = await this.#writer.resume(wanted);
    if (this.#isClosed) {
      this.#writer.let(draft);
      throw new LoopsyError('transfer_not_found');
    }
    placeOf.set(draft, place);
    this.#lastFile += 1;
    this.#open.set(this.#lastFile, draft);
    return { file: this.#lastFile, hashes };
  }

  /**
   * Bytes are to come. Who wrote that file before writes no more.
   * @throws {LoopsyError} `transfer_not_found` where the file is not open, `invalid_request` where they can't go there.
   */
  begin(span: Span): void {
    const draft = this.#file(span.file);
    const { size, shown } = draft.wanted;
    if (span.to <= span.at || span.to > size)
      throw fileError('invalid_request', shown, `has no bytes ${span.at} to ${span.to}`);
    if (span.turn !== this.#turnOf(draft))
      throw fileError('invalid_request', shown, 'is written by another connection now');
    draft.seek(span.at);
    this.#writing.set(draft, span);
  }

  /** By the rules of this moment. @throws {LoopsyError} where it may not be written any more; nothing of it is left then. */
  async recheck(number: number): Promise<void> {
    const draft = this.#file(number);
    try {
      await this.#writer.recheck(draft);
    } catch (thrown) {
      if (this.#open.get(number) === draft) this.drop(number);
      throw fileFault(thrown, draft.wanted.shown);
    }
  }

  /** Bytes have come. @throws {LoopsyError} what keeps them from being written; what is no use to a repeat goes then. */
  write(span: Span, bytes: Uint8Array): void {
    const draft = this.#fileOf(span);
    const { shown } = draft.wanted;
    if (draft.at + bytes.length > span.to)
      throw fileError('invalid_request', shown, 'has more bytes than were announced');
    try {
      draft.write(bytes);
    } catch (thrown) {
      const fault = fileFault(thrown, shown);
      if (fault.error === 'disk_full') this.drop(span.file);
      throw fault;
    }
  }

  /** All of them have come. @throws {LoopsyError} `invalid_request` where they have not. */
  end(span: Span): void {
    const draft = this.#fileOf(span);
    this.#writing.delete(draft);
    if (draft.at !== span.to) throw fileError('invalid_request', draft.wanted.shown, `broke off at byte ${draft.at}`);
  }

  /** Where a file is to be gone on with, from `from` on, a chunk's begin. Who wrote it writes no more. */
  resume(number: number, from: number): { readonly at: number; readonly turn: number } {
    const draft = this.#file(number);
    const turn = this.#turnOf(draft) + 1;
    this.#turns.set(draft, turn);
    this.#writing.delete(draft);
    return { at: draft.missingFrom(from), turn };
  }

  #turnOf(draft: Draft): number {
    return this.#turns.get(draft) ?? 0;
  }

  #fileOf(span: Span): Draft {
    const draft = this.#file(span.file);
    if (this.#writing.get(draft) === span) return draft;
    throw fileError('invalid_request', draft.wanted.shown, 'is written by another connection now');
  }

  /** All bytes are there: the file gets its name. `keep`: chunks of what was there that are right. */
  commit(number: number, keep: readonly (readonly [number, number])[]): Promise<Committed> {
    const known = this.#committing.get(number);
    if (known !== undefined) return known;
    const committing = this.#commit(this.#file(number), keep);
    this.#open.delete(number);
    this.#committing.set(number, committing);
    for (const oldest of this.#committing.keys()) {
      if (this.#committing.size <= MAX_DONE) break;
      this.#committing.delete(oldest);
    }
    return committing;
  }

  async #commit(draft: Draft, keep: readonly (readonly [number, number])[]): Promise<Committed> {
    const { folder, shown } = draft.wanted;
    folder.hold();
    try {
      draft.keep(keep);
      draft.checkComplete();
      draft.finish();
      await draft.sync();
    } catch (thrown) {
      this.#writer.discard(draft);
      this.#settle(draft);
      folder.release();
      throw fileFault(thrown, shown);
    }
    try {
      const checksum = draft.digest;
      await this.#writer.judge(draft);
      if (!(await this.#writer.publish(draft))) return { skipped: 1 };
      folder.sync();
      return checksum === undefined ? {} : { checksum };
    } catch (thrown) {
      throw fileFault(thrown, shown);
    } finally {
      this.#settle(draft);
      folder.release();
    }
  }

  /** The file will not come: nothing of it is left. */
  drop(number: number): void {
    const draft = this.#file(number);
    this.#open.delete(number);
    this.#writer.discard(draft);
    this.#settle(draft);
  }

  /** What is open stays, to be gone on with. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const number of this.#open.keys()) this.#let(number);
    await Promise.allSettled([...this.#opening.values(), ...this.#committing.values()]);
  }

  #let(number: number): void {
    const draft = this.#open.get(number);
    this.#open.delete(number);
    if (draft === undefined) return;
    this.#writer.let(draft);
    this.#settle(draft);
  }

  /** The journal knows of it as long as it is there. */
  #settle({ isLeft, wanted: { folder, draft } }: Draft): void {
    if (!isLeft) this.#journal.settleLarge(folder.realOf(draft));
  }

  #file(number: number): Draft {
    const draft = this.#open.get(number);
    if (draft === undefined) throw fileError('transfer_not_found', '', `is not open here: there is no file ${number}`);
    return draft;
  }
}

/** Which entry a draft is for. */
const placeOf = new WeakMap<Draft, string>();
