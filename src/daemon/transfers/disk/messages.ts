import type { ErrorBody } from '../../../protocol/errors.ts';
import type { SourceWant, TargetStep } from '../../../protocol/transfers.ts';
import type { Rest } from './journal.ts';
import type { SourceOptions } from './source.ts';
import type { TargetOptions } from './target.ts';

/** Main thread and disk thread speak this version. */
export const DISK_PROTOCOL = 3;

/** Which folders are open, and how large files may be: what the config says at this moment. */
export interface DiskRules {
  readonly allowed: readonly string[];
  readonly denied: readonly string[];
  readonly maxFileSize: number;
}

/** What the thread is started with. */
export interface DiskData {
  readonly protocol: typeof DISK_PROTOCOL;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly nodeId: string;
  readonly alwaysDenied: readonly string[];
  readonly journalDir: string;
  readonly rules: DiskRules;
}

/** What a caller is limited to beside the config. */
interface DiskLimits {
  readonly folders?: readonly string[];
}

/** What can be asked for, by name: arguments in, answer out. */
export interface DiskCalls {
  'source.open': [options: SourceOptions & { readonly endId: string }, answer: unknown];
  'target.open': [options: TargetOptions & { readonly endId: string; readonly journalKey: string }, answer: unknown];
  close: [options: { readonly endId: string; readonly rest: Rest }, answer: unknown];
  list: [options: ListFolder, answer: unknown];
}

/** A page of a folder that is wanted: `limit` names behind `cursor`. */
export interface ListFolder {
  readonly path: string;
  readonly limits: DiskLimits;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

/** A part of a file, as an HTTP range names it: `last` bytes of it, or from a byte to another one (inclusive). */
export type ByteRange = { readonly from: number; readonly to?: number } | { readonly last: number };

/** One file that is read by itself. The first chunk is `WholeFile` as JSON; the answer behind the bytes its checksum. */
export interface ReadFile {
  readonly path: string;
  readonly limits: DiskLimits;
  readonly range?: ByteRange;
}

/** What a file is that is read by itself, and which of its bytes come: `from` up to `to` (exclusive). */
export interface WholeFile {
  readonly size: number;
  readonly mtimeMs: number;
  readonly from: number;
  readonly to: number;
}

/** Bytes that are read for the main thread. */
export type DiskRead = { readonly endId: string; readonly want: SourceWant } | { readonly readFile: ReadFile };

/** One step of an open target. */
export interface StepWrite {
  readonly endId: string;
  readonly step: TargetStep | 'put';
  readonly file?: number;
  /** Of a `put`: which bytes come. */
  readonly at?: number;
  readonly to?: number;
  readonly turn?: number;
}

/** Where a file goes that is written by itself: said before its bytes, or behind them. */
export interface FilePlace {
  readonly destPath?: string;
  /** sha256 that its bytes must have. */
  readonly checksum?: string;
}

/** One file that is written by itself. */
export interface WriteFile {
  readonly id: string;
  readonly place: FilePlace;
  readonly limits: DiskLimits;
  readonly mayWriteRunning: boolean;
}

/** Bytes that the main thread hands in. */
export type DiskWrite = StepWrite | { readonly writeFile: WriteFile };

/** To the disk thread. */
export type ToDisk =
  | { readonly id: number; readonly call: keyof DiskCalls; readonly options: unknown }
  | { readonly id: number; readonly read: DiskRead }
  | { readonly id: number; readonly write: DiskWrite }
  | { readonly id: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly more: number; readonly used?: ArrayBuffer }
  | { readonly id: number; readonly end: 'end' | 'abort'; readonly value?: unknown }
  | { readonly rules: DiskRules }
  | { readonly stop: true };

/** From the disk thread. `taken`: bytes of a write that were dealt with; `used`: the memory that they came in. */
export type FromDisk =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: ErrorBody }
  | { readonly id: number; readonly chunk: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly taken: number; readonly used: ArrayBuffer };

/** Bytes of a read that may be on their way to the main thread. */
export const READ_WINDOW_BYTES = 4 * 1_048_576;
