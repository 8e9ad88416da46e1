/** So many things at once; who comes later waits, in order. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** Runs it when there is a slot. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#take();
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  /** Resolves when it has begun; what it resolves with can be waited for then. */
  async begin<T>(work: () => Promise<T>): Promise<{ readonly done: Promise<T> }> {
    await this.#take();
    const done = work().finally(() => this.#give());
    // Whoever waits for it hears of a failure.
    done.catch(() => undefined);
    return { done };
  }

  async #take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
