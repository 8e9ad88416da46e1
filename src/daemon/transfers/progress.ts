import type { LoopsyError } from '../../protocol/errors.ts';
import type { Transfer, TransferEnd, TransferFailure } from '../../protocol/transfers.ts';
import { failureOf, type Failed } from './format.ts';

const MAX_FAILURES = 1000;

/** What a movement has come to: counted by it, shown to whoever follows. */
export class Progress {
  readonly files = { found: 0, done: 0, skipped: 0, failed: 0 };
  readonly bytes = { found: 0, sent: 0, done: 0, skipped: 0 };
  folders = 0;
  links = 0;
  removed = 0;
  /** Of loopsy, at the source: left behind. */
  drafts = 0;
  counting = true;
  /** Why it waits; undefined where it does not. */
  waiting: LoopsyError | undefined;
  current: string | undefined;
  path: string | undefined;
  checksum: string | undefined;
  readonly failures: TransferFailure[] = [];
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** The source is looked through again, from the beginning: what has arrived will be found there. */
  restart(): void {
    Object.assign(this.files, { found: 0, done: 0, skipped: 0, failed: 0 });
    Object.assign(this.bytes, { found: 0, done: 0, skipped: 0 });
    this.folders = 0;
    this.links = 0;
    this.drafts = 0;
    this.counting = true;
    this.failures.length = 0;
  }

  /** A node is away, or wants to be left alone for a while; or is there again. */
  wait(why: LoopsyError | undefined): void {
    if (this.waiting?.message === why?.message) return;
    this.waiting = why;
    this.#changed();
  }

  /** Something has happened that is worth showing. */
  touch(): void {
    this.#changed();
  }

  /** So many files were there already. */
  skip(files: number, bytes: number): void {
    this.files.skipped += files;
    this.keep(bytes);
    this.#changed();
  }

  /** Bytes of a file were there already; fewer than none take it back. */
  keep(bytes: number): void {
    this.bytes.done += bytes;
    this.bytes.skipped += bytes;
  }

  /** `at`: the end that says so. */
  fail(failed: readonly Failed[], at?: TransferEnd): void {
    for (const one of failed) {
      this.files.failed += 1;
      if (this.failures.length < MAX_FAILURES) this.failures.push(failureOf(one, at));
    }
    if (failed.length > 0) this.#changed();
  }

  /** What is no file is not there, or not gone. @returns it: files that it keeps from arriving are counted with it. */
  remark(failed: Failed): TransferFailure {
    const failure: TransferFailure = { ...failureOf(failed), files: 0 };
    if (this.failures.length < MAX_FAILURES) this.failures.push(failure);
    this.#changed();
    return failure;
  }

  get hasFailed(): boolean {
    return this.files.failed > 0 || this.failures.length > 0;
  }

  /** The part of a row that it knows. */
  snapshot(
    withFailures: boolean,
  ): Pick<Transfer, 'files' | 'bytes' | 'folders' | 'links' | 'removed' | 'counting' | 'failures'> &
    Partial<Pick<Transfer, 'drafts' | 'current' | 'path' | 'checksum'>> {
    const { drafts, current, path, checksum } = this;
    return {
      counting: this.counting,
      files: { ...this.files },
      folders: this.folders,
      links: this.links,
      removed: this.removed,
      bytes: { ...this.bytes },
      ...(drafts === 0 ? {} : { drafts }),
      ...(current === undefined ? {} : { current }),
      ...(path === undefined ? {} : { path }),
      ...(checksum === undefined ? {} : { checksum }),
      failures: withFailures ? [...this.failures] : [],
    };
  }
}
