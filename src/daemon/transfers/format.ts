import { type ErrorRow, ERRORS, LoopsyError } from '../../protocol/errors.ts';
import type { TransferEnd, TransferFailure } from '../../protocol/transfers.ts';

/**
 * The bytes that two ends exchange. A *group* is a part of the manifest as JSON. A *batch* is the contents of small
 * files: for each `length u32, bytes, verdict u8`, and behind the verdict 1 `length u16, JSON {error, message, hint}`; where it
 * goes to a target, `length u32, JSON of the files` stands before it. All numbers are big-endian.
 */

/** The kinds of entries. `end` comes behind everything in a folder, and says what the folder is to have at last. */
export const ENTRY = { file: 0, folder: 1, link: 2, end: 3 } as const;

/**
 * One entry: kind, root, path below the root (`/` between names; empty for the root itself), size (bytes), mtime (ms
 * since 1970), mode (POSIX permission bits; -1 where the source has none), and for a link what it says.
 */
export type Entry = readonly [
  kind: number,
  root: number,
  path: string,
  size: number,
  mtimeMs: number,
  mode: number,
  link?: string,
];

/**
 * What did not arrive, and why: path, name of the error, message, what to do next (empty: what the catalogue says), and
 * at which end it failed (not there: at the one that says so).
 */
export type Failed = readonly [path: string, error: string, message: string, hint?: string, at?: TransferEnd];

/** An error as what kept one file from arriving. */
export const failedOf = (path: string, thrown: LoopsyError): Failed => {
  const { error, message, details } = thrown;
  const own = ownHint(thrown);
  const at = endIn(details?.['at']);
  if (at !== undefined) return [path, error, message, own, at];
  return own === '' ? [path, error, message] : [path, error, message, own];
};

/** What the catalogue does not say anyway. */
const ownHint = ({ error, hint = '' }: LoopsyError): string => {
  const row: ErrorRow = ERRORS[error];
  return hint === row.hint ? '' : hint;
};

/** The same with names; `said`: the end that says so. */
export const failureOf = ([path, error, message, hint = '', at]: Failed, said?: TransferEnd): TransferFailure => {
  const end = at ?? said;
  return { path, error, message, ...(hint === '' ? {} : { hint }), ...(end === undefined ? {} : { at: end }) };
};

/** The end that an error says it is about. */
export const endIn = (value: unknown): TransferEnd | undefined =>
  value === 'source' || value === 'target' ? value : undefined;

/** A part of a manifest. */
export interface Group {
  readonly entries: readonly Entry[];
  readonly failed: readonly Failed[];
  readonly files: number;
  readonly bytes: number;
  /** Drafts of loopsy, which no transfer reads. */
  readonly drafts?: number;
  /** Entries that are folders where another disk begins, and which folders of it those are. */
  readonly disks?: readonly (readonly [entry: number, mark: string])[];
  /** True where nothing follows. */
  readonly last: boolean;
}

/** What a target answers to a group: indices into its entries. */
export interface Plan {
  /** Files to be sent whole. */
  readonly send: readonly number[];
  /** Files of which a part may be there. */
  readonly compare: readonly number[];
  /** Files of the same size, whose contents are to be compared first. */
  readonly check: readonly number[];
  /** Files that are there already, how many bytes they have. */
  readonly skipped: number;
  readonly skippedBytes: number;
  readonly folders: number;
  readonly links: number;
  readonly failed: readonly Failed[];
  /** Folders that are not there: which entry, and which of `failed` says why. What is in them was not looked at. */
  readonly closed?: readonly (readonly [entry: number, failed: number])[];
  /** What can't be there only because something of another kind is, and whether that is a folder. */
  readonly blocked?: readonly (readonly [entry: number, isFolder: boolean])[];
  /** The only root, where it is a folder and was made now: its path, and which folder it is. */
  readonly made?: readonly [path: string, mark: string];
  /** Of a dry run: folders and links that would be made, and what something is there for already. */
  readonly makes?: readonly number[];
  readonly replaces?: readonly number[];
}

/** The unit of comparison: a large file is compared, hashed and sent again in pieces of so many bytes. */
export const CHUNK_BYTES = 4 * 1_048_576;
/** Small enough to travel with others. */
export const SMALL_BYTES = 1_048_576;
/** What travels together. */
export const BATCH_BYTES = 2 * 1_048_576;
export const BATCH_FILES = 256;

const MAX_HEADER_BYTES = 4 * 1_048_576;
const MAX_MESSAGE_CHARACTERS = 2000;
const MAX_PIECES = 256;

/** Behind the name of a root that is what is in a folder: it goes into the destination itself. */
export const CONTENTS = '/.';

/** True for the name of such a root. */
export const isContents = (rootName: string): boolean => rootName.endsWith(CONTENTS);

/** True for what lies in a folder of the manifest, and for the folder itself. */
export const isBelow = ([, folderRoot, folder]: Entry, [, root, path]: Entry): boolean =>
  root === folderRoot && (folder === '' || path === folder || path.startsWith(`${folder}/`));

/** The file's name for a person: with the name of its root. */
export const shownPath = (rootName: string, path: string): string => {
  if (path === '') return rootName;
  return `${isContents(rootName) ? rootName.slice(0, -CONTENTS.length) : rootName}/${path}`;
};

/** `length u32, JSON`. */
export const encodeHeader = (value: unknown): Buffer => {
  const text = Buffer.from(JSON.stringify(value));
  const header = Buffer.allocUnsafe(4 + text.length);
  header.writeUInt32BE(text.length);
  text.copy(header, 4);
  return header;
};

/** What stands behind a file's bytes where they are not to be used. */
export const encodeVerdict = (why: LoopsyError): Buffer => {
  const { error, message } = why;
  const hint = ownHint(why);
  const said = { error, message: message.slice(0, MAX_MESSAGE_CHARACTERS), ...(hint === '' ? {} : { hint }) };
  const text = Buffer.from(JSON.stringify(said));
  const verdict = Buffer.allocUnsafe(3 + text.length);
  verdict.writeUInt8(1);
  verdict.writeUInt16BE(text.length, 1);
  text.copy(verdict, 3);
  return verdict;
};

const malformed = (what: string): LoopsyError =>
  new LoopsyError('invalid_request', { message: `the bytes of this transfer are malformed: ${what}` });

/** Why a source says that a file's bytes are not to be used. */
export type Verdict = Pick<TransferFailure, 'error' | 'message' | 'hint'>;

/** What a batch reader is told to do, in the order of the bytes. */
export interface BatchTaker {
  /** The header; its files follow. @returns how many there are; undefined: `resume` will say it. */
  header(value: unknown): number | undefined;
  begin(index: number, length: number): void;
  bytes(index: number, bytes: Uint8Array): void;
  /** `failure` is there where the source says that the bytes are not to be used. */
  end(index: number, failure: Verdict | undefined): void;
}

type Step =
  | 'header-length'
  | 'header'
  | 'length'
  | 'bytes'
  | 'verdict'
  | 'failure-length'
  | 'failure'
  | 'waiting'
  | 'done';
const FIXED: Partial<Record<Step, number>> = { 'header-length': 4, length: 4, verdict: 1, 'failure-length': 2 };

/** Reads a batch from chunks that are cut anywhere; each is good until `read` returns. Contents are passed on as they come. */
export class BatchReader {
  readonly #taker: BatchTaker;
  #step: Step = 'header-length';
  #need = 4;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #index = 0;
  #count = 0;
  #left = 0;

  constructor(taker: BatchTaker) {
    this.#taker = taker;
  }

  /** True where the batch is complete. */
  get isDone(): boolean {
    return this.#step === 'done';
  }

  /** What was put off begins. */
  resume(count: number): void {
    if (this.#step === 'waiting') this.#begin(count);
  }

  /**
   * @returns what is to be read again when it was resumed; undefined where nothing is left.
   * @throws {LoopsyError} `invalid_request` on bytes that are no batch.
   */
  read(chunk: Buffer): Buffer | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#step === 'waiting') return chunk.subarray(at);
      if (this.#step === 'done') throw malformed('something follows its end');
      if (this.#step === 'bytes') {
        const piece = chunk.subarray(at, at + this.#left);
        at += piece.length;
        this.#left -= piece.length;
        this.#taker.bytes(this.#index, piece);
        if (this.#left === 0) this.#expect('verdict');
        continue;
      }
      const piece = chunk.subarray(at, at + this.#need - this.#heldBytes);
      at += piece.length;
      this.#hold(piece);
    }
    return undefined;
  }

  #hold(piece: Buffer): void {
    this.#heldBytes += piece.length;
    if (this.#heldBytes < this.#need) {
      this.#held.push(Buffer.from(piece));
      // Many tiny pieces would cost more than what is in them.
      if (this.#held.length >= MAX_PIECES) this.#held = [Buffer.concat(this.#held)];
      return;
    }
    this.#held.push(piece);
    const [only] = this.#held;
    const whole = this.#held.length === 1 && only !== undefined ? only : Buffer.concat(this.#held);
    this.#take(whole);
  }

  #expect(step: Step, need = FIXED[step] ?? 0): void {
    this.#step = step;
    this.#need = need;
    this.#held = [];
    this.#heldBytes = 0;
  }

  #take(whole: Buffer): void {
    switch (this.#step) {
      case 'header-length':
        if (whole.readUInt32BE() > MAX_HEADER_BYTES || whole.readUInt32BE() === 0) throw malformed('its header');
        return this.#expect('header', whole.readUInt32BE());
      case 'header':
        return this.#begin(this.#taker.header(parse(whole)));
      case 'length':
        this.#left = whole.readUInt32BE();
        this.#taker.begin(this.#index, this.#left);
        return this.#expect(this.#left === 0 ? 'verdict' : 'bytes');
      case 'verdict':
        if (whole[0] !== 0 && whole[0] !== 1) throw malformed('a verdict');
        return whole[0] === 0 ? this.#next(undefined) : this.#expect('failure-length');
      case 'failure-length':
        return this.#expect('failure', Math.max(1, whole.readUInt16BE()));
      case 'failure':
        return this.#next(verdictOf(parse(whole)));
      default:
        throw malformed(this.#step);
    }
  }

  #begin(count: number | undefined): void {
    if (count === undefined) return this.#expect('waiting');
    this.#count = count;
    this.#expect(count === 0 ? 'done' : 'length');
  }

  #next(failure: Verdict | undefined): void {
    this.#taker.end(this.#index, failure);
    this.#index += 1;
    this.#expect(this.#index === this.#count ? 'done' : 'length');
  }
}

const parse = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw malformed('what should be JSON');
  }
};

const verdictOf = (value: unknown): Verdict => {
  const fields = typeof value === 'object' && value !== null ? value : {};
  const { error, message, hint } = fields as { error?: unknown; message?: unknown; hint?: unknown };
  return {
    error: typeof error === 'string' ? error : 'transfer_failed',
    message: typeof message === 'string' ? message : '',
    ...(typeof hint === 'string' ? { hint } : {}),
  };
};
