import { realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isDeepStrictEqual } from 'node:util';

import { errorCode, writeFileAtomic } from '../kernel/atomic-file.ts';
import type { Clock, Timer } from '../kernel/clock.ts';
import { FileLockTimeout, withFileLock } from '../kernel/file-lock.ts';
import type { Service } from '../kernel/lifecycle.ts';
import type { Log } from '../kernel/log.ts';
import { TIMED_OUT, withTimeLimit } from '../kernel/sleep.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { editYaml, type Edit } from './edit.ts';
import { loadConfig, parseConfig, readConfigText, type ConfigSource } from './load.ts';
import { expandPath } from './paths.ts';
import { unknownKeyError } from './problems.ts';
import { CONFIG_KEYS, pathOfKey, RESTART_KEYS, valueOfKey, type Config } from './schema.ts';
import { secretsWarning } from './secret-paths.ts';

/** How often the file is looked at, ms. A change that has stood still for one look is read. */
export const LOOK_EVERY_MS = 500;
/** How long a subscriber may take to follow a change, ms. */
const COMMIT_LIMIT_MS = 5000;

/** A part of the node that follows the settings. */
export interface ConfigSubscriber {
  readonly name: string;
  /** Pure and quick. @returns why it can't work with `next`, in words for a person; undefined where it can. */
  verify?(next: Config, previous: Config): string | undefined;
  /** Brings `next` into force; its promise resolves when it is. It must not fail for what `verify` let pass. */
  commit(next: Config, previous: Config): void | Promise<void>;
}

/** What a store is opened with. */
export interface ConfigStoreOptions {
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Opens the settings.
 * @throws {LoopsyError} `config_invalid` where they can't be used.
 */
export const openConfigStore = async (options: ConfigStoreOptions): Promise<ConfigStore> => {
  const { config, text } = await loadConfig(options.source);
  return new ConfigStore(options, config, text);
};

/**
 * The settings in force, and their change as a transaction: verified by all subscribers, saved with the person's
 * comments, then brought into force. As a service it also follows what people change in the file; a command without a
 * node uses it without starting it.
 */
export class ConfigStore implements Service {
  readonly name = 'config';
  readonly file: string;
  readonly #options: ConfigStoreOptions;
  readonly #subscribers = new Set<ConfigSubscriber>();
  /** What the node was started with: keys that need a restart are compared with it. */
  readonly #initial: Config;
  #current: Config;
  #text: string;
  #warning: string | undefined;
  #timer: Timer | undefined;
  #looking = false;
  /** The file's state at the last look, and at the last reading. */
  #seen = '';
  #read = '';
  /** Changes and readings, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ConfigStoreOptions, config: Config, text: string) {
    this.#options = options;
    this.file = options.source.paths.config;
    this.#initial = config;
    this.#current = config;
    this.#text = text;
  }

  /** What is in force: a new object after each change. */
  get current(): Config {
    return this.#current;
  }

  /** Keys that were changed and act after a restart. */
  get restartNeeded(): string[] {
    return RESTART_KEYS.filter((key) => differs(key, this.#current, this.#initial));
  }

  /** What a person should know: why the file can't be used, and what the settings in force leave open. */
  get warnings(): string[] {
    const { home = homedir(), platform } = this.#options.source;
    const secrets = secretsWarning(this.#current.transfer, (path) => expandPath(path, home, platform));
    return [this.#warning, secrets].filter((warning) => warning !== undefined);
  }

  /** @returns the way to end the subscription. */
  subscribe(subscriber: ConfigSubscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  async start(): Promise<void> {
    this.#timer = this.#options.clock.every(LOOK_EVERY_MS, () => void this.#look());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#queue;
  }

  /**
   * Changes keys in the file and in force: all, or none. Keys are dotted (`execution.maxConcurrent`; an entry:
   * `auth.allowedKeys.ci`); null takes one out, so that its default holds. Not to be called from a `commit`.
   * @throws {LoopsyError} `invalid_request` for an unknown key, a wrong value or a veto; `config_invalid` where the file
   * can't be used or written; `conflict` where another process holds it.
   */
  async change(changes: Readonly<Record<string, unknown>>): Promise<Config> {
    return this.#edit(Object.entries(changes).map(([key, value]) => toEdit(key, value)));
  }

  /** Replaces the owner's key in the file and in force. Fails as `change` does. */
  async replaceApiKey(apiKey: string): Promise<Config> {
    return this.#edit([{ path: ['auth', 'apiKey'], value: apiKey }]);
  }

  /** Reads the file again. One that can't be used changes nothing: it is logged, and is a warning until it is mended. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        const text = await readConfigText(this.file);
        const next = text === this.#text ? this.#current : parseConfig(text, this.#options.source);
        this.#verify(next);
        await this.#commit(next, text);
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error);
        this.#warning = `${problem}; the settings from before stay in force`;
        this.#options.log.warn('config refused', { file: this.file, problem });
      }
    });
  }

  /** Reads a changed file when it has stood still for one look: an editor may be in the middle of it. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const state = await fileState(this.file);
    if (state === this.#seen && state !== this.#read) {
      this.#read = state;
      await this.reload();
    }
    this.#seen = state;
    this.#looking = false;
  }

  #edit(edits: readonly Edit[]): Promise<Config> {
    return this.#inTurn(async () => {
      const { clock, source } = this.#options;
      const { next, text } = await withFileLock(source.paths.configLock, () => this.#save(edits), { clock }).catch(
        (error: unknown) => {
          throw saveError(error, this.file);
        },
      );
      await this.#commit(next, text);
      return next;
    });
  }

  /** Starts from the file as it is now: a person or a command may have changed it since it was read. */
  async #save(edits: readonly Edit[]): Promise<{ next: Config; text: string }> {
    const { source } = this.#options;
    const before = await readConfigText(this.file);
    parseConfig(before, source);
    const text = editYaml(before, edits);
    const next = parseEdited(text, source, edits);
    this.#verify(next);
    // A link to a file elsewhere stays a link.
    if (text !== before) await writeFileAtomic(await realpath(this.file), text);
    return { next, text };
  }

  #verify(next: Config): void {
    for (const subscriber of this.#subscribers) {
      const reason = subscriber.verify?.(next, this.#current);
      if (reason !== undefined) throw new LoopsyError('invalid_request', { message: reason });
    }
  }

  async #commit(next: Config, text: string): Promise<void> {
    const previous = this.#current;
    this.#text = text;
    this.#warning = undefined;
    const changed = CONFIG_KEYS.filter((key) => differs(key, next, previous));
    if (changed.length === 0) return;
    this.#current = next;
    this.#options.log.info('config changed', { changed });
    await Promise.all([...this.#subscribers].map((subscriber) => this.#tell(subscriber, next, previous)));
  }

  async #tell(subscriber: ConfigSubscriber, next: Config, previous: Config): Promise<void> {
    const { clock, log } = this.#options;
    try {
      const following = (async () => subscriber.commit(next, previous))();
      const ended = await withTimeLimit(following, COMMIT_LIMIT_MS, clock);
      if (ended === TIMED_OUT) log.error('config change hangs', { subscriber: subscriber.name });
    } catch (error) {
      log.error('config change failed', { subscriber: subscriber.name, error });
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}

const differs = (key: string, a: Config, b: Config): boolean =>
  !isDeepStrictEqual(valueOfKey(a, key), valueOfKey(b, key));

const toEdit = (key: string, value: unknown): Edit => {
  const path = pathOfKey(key);
  if (path === undefined) throw unknownKeyError(key);
  if (key !== 'auth.apiKey') return { path, value: value === null ? undefined : value };
  throw new LoopsyError('invalid_request', {
    message: "the owner's key is not changed this way",
    hint: '`loopsy key generate` replaces it',
    details: { field: key },
  });
};

/** The text before the edits was right: what is wrong now is wrong in the request. */
const parseEdited = (text: string, source: ConfigSource, edits: readonly Edit[]): Config => {
  try {
    return parseConfig(text, source);
  } catch (cause) {
    if (!(cause instanceof LoopsyError)) throw cause;
    const { problem, key } = cause.details ?? {};
    throw new LoopsyError('invalid_request', {
      message: typeof problem === 'string' ? problem : cause.message,
      hint: 'nothing was changed',
      details: { field: key ?? edits.map(({ path }) => path.join('.')).join(', ') },
      cause,
    });
  }
};

const saveError = (error: unknown, file: string): unknown => {
  if (error instanceof LoopsyError) return error;
  if (error instanceof FileLockTimeout) {
    return new LoopsyError('conflict', {
      message: `another process is changing ${file}`,
      hint: 'try again',
      cause: error,
    });
  }
  const why = error instanceof Error ? error.message : String(error);
  return new LoopsyError('config_invalid', {
    message: `${file} can not be written: ${why}`,
    details: { file },
    cause: error,
  });
};

/** A word that is another one whenever the file is another one, whichever way it was saved. */
const fileState = async (file: string): Promise<string> => {
  try {
    const { ino, size, mtimeMs, ctimeMs } = await stat(file);
    return [ino, size, mtimeMs, ctimeMs].join(' ');
  } catch (error) {
    return errorCode(error) ?? 'unreadable';
  }
};
