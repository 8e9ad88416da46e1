import type { Clock, Timer } from '../../src/kernel/clock.ts';

/** A clock that moves only when told. Timers run in the order of their times. */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 0;
  #slept = 0;
  #timers = new Set<{ at: number; run: () => void; everyMs?: number }>();

  constructor(wall = 1_800_000_000_000) {
    this.#wall = wall;
  }

  now(): number {
    return this.#wall;
  }

  monotonicMs(): number {
    return this.#monotonic;
  }

  sinceBootMs(): number {
    return this.#monotonic + this.#slept;
  }

  after(ms: number, run: () => void): Timer {
    return this.#add({ at: this.#monotonic + ms, run });
  }

  every(ms: number, run: () => void): Timer {
    return this.#add({ at: this.#monotonic + ms, run, everyMs: ms });
  }

  /** Moves both clocks and runs what falls due. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#wall += due.at - this.#monotonic;
      this.#monotonic = due.at;
      if (due.everyMs === undefined) this.#timers.delete(due);
      else due.at += due.everyMs;
      due.run();
    }
    this.#wall += end - this.#monotonic;
    this.#monotonic = end;
  }

  /** The machine sleeps: the monotonic clock stands still, as on Linux. */
  sleep(ms: number): void {
    this.#wall += ms;
    this.#slept += ms;
  }

  /** A jump of the wall clock alone, as a person or NTP makes it. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  /** How many timers wait: a test of leaks. */
  get waiting(): number {
    return this.#timers.size;
  }

  #add(timer: { at: number; run: () => void; everyMs?: number }): Timer {
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }
}
