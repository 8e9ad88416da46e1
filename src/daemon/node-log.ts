import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';

import type { ConfigStore } from '../config/store.ts';
import type { Clock } from '../kernel/clock.ts';
import { createLog, type Log, type RootLog } from '../kernel/log.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { type AppendLog, openAppendLog } from '../store/append-log.ts';

/** What a node's log is opened with. */
export interface NodeLogOptions {
  /** Where it begins: in the data folder. */
  readonly file: string;
  readonly clock: Clock;
  /** Gets each line too. */
  readonly echo?: (line: string) => void;
}

const BOUNDS = { maxBytes: 10_485_760, keep: 3 };
const FLUSH_MS = 200;

/**
 * The node's own log. It begins in the data folder and goes on where config `logging` says; a file that it leaves ends
 * with the name of the next one, so that whoever reads the first one finds the rest.
 */
export class NodeLog {
  readonly log: RootLog;
  /** For what is written at every level. */
  readonly #signposts: Log;
  readonly #clock: Clock;
  #name: string;
  #file: AppendLog;

  constructor({ file, clock, echo }: NodeLogOptions) {
    this.#clock = clock;
    this.#name = file;
    this.#file = this.#open(file);
    const write = (line: string): void => {
      this.#file.append(line.trimEnd());
      echo?.(line);
    };
    this.log = createLog({ level: 'info', clock, write });
    this.#signposts = createLog({ level: 'info', clock, write });
  }

  /**
   * Does as the settings say from now on.
   * @throws {LoopsyError} `config_invalid` where the file that they name can't be written.
   */
  async follow(config: ConfigStore): Promise<void> {
    const { file } = config.current.logging;
    const problem = this.#problemWith(file);
    if (problem !== undefined)
      throw new LoopsyError('config_invalid', { message: problem, details: { file: config.file } });
    const commit = async ({ logging }: ConfigStore['current']): Promise<void> => {
      this.log.setLevel(logging.level);
      await this.#move(logging.file);
    };
    await commit(config.current);
    config.subscribe({ name: 'log', verify: ({ logging }) => this.#problemWith(logging.file), commit });
  }

  /** Writes what waits. */
  close(): Promise<void> {
    return this.#file.close();
  }

  #open(file: string): AppendLog {
    return openAppendLog({ file, clock: this.#clock, flushMs: FLUSH_MS, ...BOUNDS });
  }

  async #move(file: string): Promise<void> {
    const [from, left] = [this.#name, this.#file];
    if (file === from) return;
    this.#signposts.info('log moved', { file });
    this.#name = file;
    this.#file = this.#open(file);
    this.#signposts.info('log goes on', { from });
    await left.close();
  }

  #problemWith(file: string): string | undefined {
    const reason = file === this.#name ? undefined : whyNotWritable(file);
    return reason === undefined ? undefined : `logging.file: ${file} can not be written: ${reason}`;
  }
}

/** Looks at the file, or at the nearest folder above it that is there. */
const whyNotWritable = (file: string): string | undefined => {
  try {
    const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
    if (isThere(file) && !statSync(file).isFile()) return 'it is no file';
    let place = file;
    while (!isThere(place)) place = dirname(place);
    if (place !== file && !statSync(place).isDirectory()) return `${place} is no folder`;
    accessSync(place, constants.W_OK);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
