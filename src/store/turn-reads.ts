import { type Database, rollBack, type Statement } from './sqlite.ts';

/**
 * What one turn of the event loop reads it reads of one state of the file: a lock for each read would cost more than
 * most of them.
 */
export class TurnReads {
  readonly #db: Database;
  readonly #begin: Statement<unknown>;
  readonly #end: Statement<unknown>;
  readonly #onFailure: (error: unknown) => void;
  #turn: NodeJS.Immediate | undefined;

  /** `onFailure` is told of a state that could not be let go: the next read has a new one all the same. */
  constructor(db: Database, onFailure: (error: unknown) => void) {
    this.#db = db;
    this.#begin = db.prepare('BEGIN');
    this.#end = db.prepare('COMMIT');
    this.#onFailure = onFailure;
  }

  /** Before each read. */
  hold(): void {
    if (this.#turn !== undefined) return;
    this.#begin.run();
    this.#turn = setImmediate(() => this.letGo());
  }

  /** The next read sees what there is then: after each word of the writer, too, whose work is to be seen. */
  letGo(): void {
    if (this.#turn === undefined) return;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    try {
      this.#end.run();
    } catch (error) {
      // A read that failed badly may have ended it.
      rollBack(this.#db);
      this.#onFailure(error);
    }
  }
}
