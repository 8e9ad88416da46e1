import { securePlace } from './connection.ts';
import { isBusy, openDatabase, type Database } from './sqlite.ts';

/** A lock that this process holds. The operating system releases it when the process dies, however that happens. */
export interface Lock {
  release(): void;
}

// A lock whose holder forgets it must not go with the garbage.
const held = new Set<Database>();

/**
 * Takes the lock that `file` stands for, or gives `undefined` where another holder has it. Nothing may open or read
 * `file` but this function: closing any handle of it would drop the lock on POSIX.
 */
export const acquireLock = (file: string): Lock | undefined => {
  securePlace(file);
  const db = openDatabase(file);
  try {
    // Nothing is ever written: no journal, no fsync. (OFF is refused by an engine in defensive mode.)
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (isBusy(error)) return undefined;
    throw new Error(`can't lock ${file}: remove it and try again`, { cause: error });
  }
  held.add(db);
  return {
    release: () => {
      if (held.delete(db)) db.close();
    },
  };
};
