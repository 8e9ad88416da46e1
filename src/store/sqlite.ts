import { createRequire } from 'node:module';

import { findBuiltFile } from './built-file.ts';

/** What a column holds or takes. */
export type SqlValue = string | number | null | Uint8Array;

/** A prepared statement; `Row` is what its SQL says that a row holds. */
export interface Statement<Row> {
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
  /** Rows as they are asked for; leaving the loop ends the reading. */
  iterate(...values: SqlValue[]): IterableIterator<Row>;
  run(...values: SqlValue[]): { readonly changes: number | bigint };
}

/** One connection. */
export interface Database {
  exec(sql: string): void;
  prepare<Row>(sql: string): Statement<Row>;
  close(): void;
}

/** The part of the node:sqlite API that loopsy uses. */
export interface SqliteModule {
  readonly DatabaseSync: new (file: string) => Database;
}

/** One way to an engine. `load` throws where it is not there. */
export interface EngineSource {
  readonly name: string;
  readonly load: () => SqliteModule;
}

/** The engine of Node 22 is older and experimental, so the vendored one goes first there. */
export const orderEngines = (nodeMajor: number, builtIn: EngineSource, vendored: EngineSource): EngineSource[] => {
  if (nodeMajor >= 24) return [builtIn, vendored];
  return nodeMajor >= 22 ? [vendored, builtIn] : [vendored];
};

/** The first engine that loads. */
export const loadFirst = (sources: readonly EngineSource[]): SqliteModule => {
  const reasons: string[] = [];
  for (const source of sources) {
    try {
      return source.load();
    } catch (error) {
      reasons.push(`${source.name}: ${error instanceof Error ? error.message.trim() : String(error)}`);
    }
  }
  const where = `Node ${process.versions.node} on ${process.platform} ${process.arch}`;
  throw new Error(`no SQLite engine works with ${where} (${reasons.join('; ')}): install loopsy again, or use Node 24`);
};

/** Runs `run` without the warning that node:sqlite is experimental; every other warning comes through. */
export const withoutSqliteWarning = <Result>(run: () => Result): Result => {
  const emit: unknown = Reflect.get(process, 'emitWarning');
  process.emitWarning = (...args: unknown[]): void => {
    const isSqlite = args[1] === 'ExperimentalWarning' && String(args[0]).startsWith('SQLite ');
    if (!isSqlite && typeof emit === 'function') Reflect.apply(emit, process, args);
  };
  try {
    return run();
  } finally {
    Reflect.set(process, 'emitWarning', emit);
  }
};

const requireVendored = (): unknown => {
  const file = findBuiltFile('vendor/sqlite/index.cjs');
  return file === undefined
    ? createRequire(import.meta.url)('@photostructure/sqlite')
    : createRequire(file)('./index.cjs');
};

const load = (): SqliteModule => {
  const requireBuiltIn = (): unknown => createRequire(import.meta.url)('node:sqlite');
  // Both have the API of node:sqlite.
  const builtIn = { name: 'built in', load: () => withoutSqliteWarning(requireBuiltIn) as SqliteModule };
  const vendored = { name: 'vendored', load: () => requireVendored() as SqliteModule };
  return loadFirst(orderEngines(Number.parseInt(process.versions.node, 10), builtIn, vendored));
};

let engine: SqliteModule | undefined;

/** Opens a connection; the engine is loaded at the first. */
export const openDatabase = (file: string): Database => {
  engine ??= load();
  return new engine.DatabaseSync(file);
};

/** Runs `run` in a write transaction: committed when this returns, rolled back when it throws. */
export const inTransaction = <Result>(db: Database, run: () => Result): Result => {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = run();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    rollBack(db);
    throw error;
  }
};

/** Ends whatever transaction there still is. */
export const rollBack = (db: Database): void => {
  try {
    db.exec('ROLLBACK');
  } catch {
    // SQLite has rolled back by itself, as it does where the disk is full.
  }
};

// Undefined where it is no error of SQLite.
const sqliteErrorCode = (error: unknown): { primary: number; extended: number } | undefined => {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return { primary: error.errcode & 0xff, extended: error.errcode };
};

/** SQLITE_BUSY: another connection holds a lock. */
export const isBusy = (error: unknown): boolean => sqliteErrorCode(error)?.primary === 5;

/** The disk has no room for what was to be written: nothing was. */
export class DiskFull extends Error {
  override readonly name = 'DiskFull';
}

/** SQLITE_FULL, or SQLITE_IOERR_SHMSIZE: how a full disk looks when the index of the WAL can't grow. */
export const isFull = (error: unknown): boolean => {
  if (error instanceof DiskFull) return true;
  const code = sqliteErrorCode(error);
  return code !== undefined && (code.primary === 13 || code.extended === 4874);
};
