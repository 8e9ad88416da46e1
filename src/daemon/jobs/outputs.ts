import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { Backlog } from '../process/backlog.ts';
import { Spool, type SpoolOptions } from '../process/spool.ts';
import { StoredOutput } from '../process/stored-output.ts';
import type { JobsOptions } from './options.ts';

/** What waits for the disk of all runs together; above it runs wait. */
const MAX_BACKLOG_BYTES = 32 * 1_048_576;

/** What the output of all runs needs. */
export interface OutputsOptions extends Pick<JobsOptions, 'dir' | 'clock' | 'log' | 'createSegment'> {
  readonly settings: () => { readonly maxOutputBytes: number };
  /** The disk has caught up: runs that waited for it go on. */
  readonly onRoom: () => void;
}

/** The output of all runs on disk: one folder each. */
export class Outputs {
  readonly #options: OutputsOptions;
  readonly #backlog: Backlog;
  #faultSaid = false;
  #fullSaid = false;

  constructor(options: OutputsOptions) {
    this.#options = options;
    this.#backlog = new Backlog({
      maxBytes: MAX_BACKLOG_BYTES,
      onFull: () => this.#onFull(),
      onRoom: options.onRoom,
    });
  }

  /** True while the disk is so far behind that no run may produce more. */
  get areBehind(): boolean {
    return this.#backlog.isFull;
  }

  async start(): Promise<void> {
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
  }

  /** The output of a new run. */
  begin(jobId: string, on: Pick<SpoolOptions, 'onWritten' | 'flushMs'>): Spool {
    const { dir, clock, settings, createSegment } = this.#options;
    return new Spool({
      ...on,
      dir: join(dir, jobId),
      windowBytes: () => settings().maxOutputBytes,
      clock,
      backlog: this.#backlog,
      onFault: (error) => this.#onFault(error, jobId),
      ...(createSegment === undefined ? {} : { createSegment }),
    });
  }

  /** The output of a run that has ended, or that another process writes: `end` bytes so far. */
  stored(jobId: string, end: number): StoredOutput {
    return new StoredOutput(join(this.#options.dir, jobId), end);
  }

  /** What goes wrong from now on is said again. */
  sayAgain(): void {
    this.#faultSaid = false;
    this.#fullSaid = false;
  }

  #onFault(error: unknown, jobId: string): void {
    if (!this.#faultSaid) this.#options.log.error('output not kept on disk', { jobId, error });
    this.#faultSaid = true;
  }

  #onFull(): void {
    if (!this.#fullSaid) this.#options.log.warn('runs wait for the disk', { waitingBytes: this.#backlog.bytes });
    this.#fullSaid = true;
  }
}
