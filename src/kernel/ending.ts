/** What was ended before its time, or not. */
export interface Ended {
  readonly aborted: boolean;
  readonly reason: unknown;
}

/**
 * An abort controller whose signal is made when somebody asks for it: most requests are over before anybody does, and
 * a signal costs more than many of them.
 */
export class Ending implements Ended {
  #controller: AbortController | undefined;
  #reason: unknown;
  #aborted = false;

  get aborted(): boolean {
    return this.#aborted;
  }

  /** The first cause that was given. */
  get reason(): unknown {
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Only the first call counts. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}
