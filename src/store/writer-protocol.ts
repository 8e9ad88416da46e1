import type { GroupResult, SweepResult } from './file-writer.ts';
import type { Budget, Change } from './store.ts';

/** Raised when these messages change: a node that runs while it is updated may start the new build's thread. */
export const WRITER_PROTOCOL = 2;

/** One commit. */
export interface WriterBatch {
  readonly changes: readonly Change[];
  readonly within?: readonly Budget[];
}

/** What the node asks of its writer thread. `counts`: what a sweep removes makes a revision, for those who follow. */
export type WriterTask =
  | { readonly kind: 'commit'; readonly batches: readonly WriterBatch[]; readonly now: number }
  | { readonly kind: 'sweep'; readonly now: number; readonly counts: boolean }
  | { readonly kind: 'close' };

/** A task for one file; the thread answers in the order of the requests. `end` has no answer: the thread ends. */
export type WriterRequest =
  | { readonly id: number; readonly file: string; readonly task: WriterTask }
  | { readonly end: true };

/** Why nothing was changed. */
export interface WriterFailure {
  readonly reason: 'full' | 'busy' | 'other';
  readonly message: string;
}

/** The answer to a task. */
export type WriterAnswer =
  | { readonly kind: 'committed'; readonly group: GroupResult }
  | { readonly kind: 'swept'; readonly swept: SweepResult }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly failure: WriterFailure };

/** What the thread posts. */
export interface WriterReply {
  readonly id: number;
  readonly answer: WriterAnswer;
}
