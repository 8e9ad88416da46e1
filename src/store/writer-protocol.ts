import type { GroupResult } from './file-writer.ts';
import type { Change } from './store.ts';

/** Raised when these messages change: a node that runs while it is updated may start the new build's thread. */
export const WRITER_PROTOCOL = 1;

/** What the node asks of its writer thread. */
export type WriterTask =
  | { readonly kind: 'commit'; readonly batches: readonly (readonly Change[])[]; readonly now: number }
  | { readonly kind: 'sweep'; readonly now: number }
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
  | { readonly kind: 'swept'; readonly more: boolean }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly failure: WriterFailure };

/** What the thread posts. */
export interface WriterReply {
  readonly id: number;
  readonly answer: WriterAnswer;
}
