import { join } from 'node:path';

import { makeFolder, readTextFile, syncFolder, writeFileAtomic } from '../../kernel/atomic-file.ts';
import type { JobRecord } from './stored-record.ts';

const FILE = 'run.json';

/** The record of one detached run beside its output, written by its supervisor: the node may be away when it ends. */
export class RunFile {
  readonly #dir: string;
  readonly #jobId: string;
  #made = false;
  #last: Promise<void> = Promise.resolve();

  /** @param dir the folder of all output. */
  constructor(dir: string, jobId: string) {
    this.#dir = dir;
    this.#jobId = jobId;
  }

  /** Resolves when the record as it is now is on disk. @throws the system's error, e.g. ENOSPC. */
  save(record: JobRecord): Promise<void> {
    const text = `${JSON.stringify(record)}\n`;
    const write = (): Promise<void> => this.#write(text);
    this.#last = this.#last.then(write, write);
    return this.#last;
  }

  async #write(text: string): Promise<void> {
    const folder = join(this.#dir, this.#jobId);
    if (!this.#made) {
      // A data folder that was removed stays so.
      await makeFolder(folder);
      await syncFolder(this.#dir);
      this.#made = true;
    }
    await writeFileAtomic(join(folder, FILE), text);
  }
}

/** What a supervisor has left of a run; undefined where it left nothing. */
export const readRunFile = async (dir: string, jobId: string): Promise<string | undefined> => {
  // Unreadable is as good as not there: then the run is lost, and its output can still be read.
  return readTextFile(join(dir, jobId, FILE)).catch(() => undefined);
};
