import { chmodSync, existsSync, mkdirSync, openSync, closeSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

import { migrate, type Migrations } from './schema.ts';
import { Spare } from './spare.ts';
import { isBusy, isFull, openDatabase, type Database } from './sqlite.ts';
import { StoreUnusable } from './store.ts';

const OPEN_WAIT_MS = 5000;
const WRITE_WAIT_MS = 5000;
// Readers of a WAL wait only while another process opens or closes the file.
const READ_WAIT_MS = 1000;
/** The index of a log, and its first pages. */
const OPEN_BYTES = 64 * 1024;
// What the WAL keeps of the disk after a burst.
const WAL_KEEP_BYTES = 8 * 1024 * 1024;

/**
 * Makes the folder (0700) and the file (0600) where they are missing, and closes a file that others could read.
 * An existing file is not opened: closing it again would drop the locks that this process holds on it.
 */
export const securePlace = (file: string): void => {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (!existsSync(file)) {
    try {
      closeSync(openSync(file, 'wx', 0o600));
    } catch (error) {
      if (!existsSync(file)) throw error;
    }
  }
  for (const path of [file, `${file}-wal`, `${file}-shm`]) {
    const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0;
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) chmodSync(path, 0o600);
  }
};

const useWal = (db: Database): void => {
  const ask = (sql: string): string | undefined => db.prepare<{ journal_mode: string }>(sql).get()?.journal_mode;
  if (ask('PRAGMA journal_mode') === 'wal') return;
  const mode = ask('PRAGMA journal_mode = WAL');
  if (mode !== 'wal') throw new Error(`the file system does not support a write-ahead log (it stays ${String(mode)})`);
};

const explain = (file: string, error: unknown): Error => {
  if (error instanceof StoreUnusable) return error;
  const cause = error instanceof Error ? error.message : String(error);
  const advice = isFull(error)
    ? 'make room on the disk'
    : isBusy(error)
      ? 'another process holds it: try again'
      : 'check the folder and its rights; if the file is damaged, move it away and start again';
  return new StoreUnusable(`can't open ${file}: ${cause}; ${advice}`, { cause: error });
};

/** Opens a store's file for reading, made or migrated where needed. Throws a StoreUnusable. */
export const openReader = (file: string, migrations: Migrations): Database => {
  for (;;) {
    try {
      return tryReader(file, migrations);
    } catch (error) {
      // On a full disk the log is begun in the room that is kept for it.
      if (!isFull(error) || !new Spare(file).give(OPEN_BYTES)) throw explain(file, error);
    }
  }
};

const tryReader = (file: string, migrations: Migrations): Database => {
  let db: Database | undefined;
  try {
    securePlace(file);
    db = openDatabase(file);
    db.exec(`PRAGMA busy_timeout = ${OPEN_WAIT_MS}`);
    useWal(db);
    migrate(db, file, migrations);
    db.exec(`PRAGMA busy_timeout = ${READ_WAIT_MS}; PRAGMA query_only = ON`);
    return db;
  } catch (error) {
    db?.close();
    throw error;
  }
};

/** Opens a store's file, which a reader has made, for writing. What it commits is on the disk, on macOS too. */
export const openWriter = (file: string): Database => {
  const db = openDatabase(file);
  db.exec(
    `PRAGMA busy_timeout = ${WRITE_WAIT_MS}; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;
     PRAGMA journal_size_limit = ${WAL_KEEP_BYTES}`,
  );
  return db;
};
