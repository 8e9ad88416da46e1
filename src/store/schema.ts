import { inTransaction, type Database } from './sqlite.ts';
import { StoreUnusable } from './store.ts';

/** The SQL that leads to a version of the schema: the first one to version 1. What was released is never edited. */
export type Migrations = readonly string[];

/** The schema of every store. */
export const MIGRATIONS: Migrations = [
  `CREATE TABLE entries (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
   CREATE TABLE counter (revision INTEGER NOT NULL) STRICT;
   INSERT INTO counter VALUES (0);`,
  `ALTER TABLE entries ADD COLUMN expires_at INTEGER;
   CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;`,
  `ALTER TABLE entries ADD COLUMN account INTEGER;
   CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, entries INTEGER NOT NULL,
   bytes INTEGER NOT NULL) STRICT;
   ALTER TABLE counter ADD COLUMN now INTEGER NOT NULL DEFAULT 0;`,
];

const readVersion = (db: Database): number =>
  db.prepare<{ user_version: number }>('PRAGMA user_version').get()?.user_version ?? 0;

const checkVersion = (file: string, version: number, known: number): void => {
  if (version <= known) return;
  throw new StoreUnusable(
    `${file} has version ${version}; this loopsy knows versions up to ${known}: ` +
      'use the newer loopsy that wrote it, or another data folder',
  );
};

/** Brings the schema to the newest version, in one transaction. */
export const migrate = (db: Database, file: string, migrations: Migrations): void => {
  if (readVersion(db) === migrations.length) return;
  inTransaction(db, () => {
    // Another process may have migrated it while this one waited for the lock.
    const version = readVersion(db);
    checkVersion(file, version, migrations.length);
    for (const sql of migrations.slice(version)) db.exec(sql);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
  });
};
