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
  `ALTER TABLE entries ADD COLUMN account TEXT;
   CREATE TABLE accounts (name TEXT PRIMARY KEY NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL)
   STRICT, WITHOUT ROWID;
   CREATE TRIGGER entry_came AFTER INSERT ON entries WHEN NEW.account IS NOT NULL BEGIN
     INSERT INTO accounts VALUES (NEW.account, 1, octet_length(NEW.key) + octet_length(NEW.value))
     ON CONFLICT (name) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
   END;
   CREATE TRIGGER entry_went AFTER DELETE ON entries WHEN OLD.account IS NOT NULL BEGIN
     UPDATE accounts SET entries = entries - 1, bytes = bytes - octet_length(OLD.key) - octet_length(OLD.value)
     WHERE name = OLD.account;
   END;
   CREATE TRIGGER entry_grew AFTER UPDATE ON entries WHEN OLD.account IS NOT NULL AND OLD.account = NEW.account BEGIN
     UPDATE accounts SET bytes = bytes + octet_length(NEW.value) - octet_length(OLD.value) WHERE name = NEW.account;
   END;
   CREATE TRIGGER entry_moved AFTER UPDATE ON entries WHEN OLD.account IS NOT NEW.account BEGIN
     UPDATE accounts SET entries = entries - 1, bytes = bytes - octet_length(OLD.key) - octet_length(OLD.value)
     WHERE name = OLD.account;
     INSERT INTO accounts SELECT NEW.account, 1, octet_length(NEW.key) + octet_length(NEW.value)
     WHERE NEW.account IS NOT NULL
     ON CONFLICT (name) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
   END;
   ALTER TABLE counter ADD COLUMN now INTEGER NOT NULL DEFAULT 0;`,
  // An account goes with its last entry. Only what removes one looks: a put costs what it did.
  `DELETE FROM accounts WHERE entries = 0;
   DROP TRIGGER entry_went;
   CREATE TRIGGER entry_went AFTER DELETE ON entries WHEN OLD.account IS NOT NULL BEGIN
     UPDATE accounts SET entries = entries - 1, bytes = bytes - octet_length(OLD.key) - octet_length(OLD.value)
     WHERE name = OLD.account;
     DELETE FROM accounts WHERE name = OLD.account AND entries = 0;
   END;
   DROP TRIGGER entry_moved;
   CREATE TRIGGER entry_moved AFTER UPDATE ON entries WHEN OLD.account IS NOT NEW.account BEGIN
     UPDATE accounts SET entries = entries - 1, bytes = bytes - octet_length(OLD.key) - octet_length(OLD.value)
     WHERE name = OLD.account;
     DELETE FROM accounts WHERE name = OLD.account AND entries = 0;
     INSERT INTO accounts SELECT NEW.account, 1, octet_length(NEW.key) + octet_length(NEW.value)
     WHERE NEW.account IS NOT NULL
     ON CONFLICT (name) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
   END;`,
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
