import type { Clock, Timer } from '../kernel/clock.ts';
import { fitted, type Sink } from './output.ts';

/** A line is drawn ten times a second, at the most. */
const DRAW_MS = 100;
const WIDTH = 80;
const CLEAR = '\r\u001B[K';

/** What a live line is made of. */
export interface LiveLineParts {
  readonly sink: Sink;
  readonly clock: Clock;
  /** The line as it is to be now, without colours, for so many columns. */
  readonly compose: (columns: number) => string;
}

/** True where a line can be drawn again in its place. */
export const isLive = (sink: Sink, env: Readonly<Record<string, string | undefined>>): boolean =>
  sink.isTTY === true && env['TERM'] !== 'dumb';

/** Some terminals do not say how wide they are, or say that they have no width at all. */
const widthOf = ({ columns = 0 }: Sink): number => (columns > 0 ? columns : WIDTH);

/** One line of a terminal that is drawn again and again in its place. */
export class LiveLine {
  readonly #parts: LiveLineParts;
  #drawnAt: number | undefined;
  #timer: Timer | undefined;
  #isShown = false;

  constructor(parts: LiveLineParts) {
    this.#parts = parts;
  }

  /** Something is new: it is drawn now, or as soon as it may be. */
  changed(): void {
    if (this.#timer !== undefined) return;
    const { clock } = this.#parts;
    const waitMs = this.#drawnAt === undefined ? 0 : this.#drawnAt + DRAW_MS - clock.monotonicMs();
    if (waitMs <= 0) return this.#draw();
    this.#timer = clock.after(waitMs, () => this.#draw());
  }

  /** Takes the line away; the next change shows it again. */
  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#isShown) this.#parts.sink.write(CLEAR);
    this.#isShown = false;
  }

  #draw(): void {
    const { sink, clock, compose } = this.#parts;
    this.#timer = undefined;
    this.#drawnAt = clock.monotonicMs();
    this.#isShown = true;
    // The last column stays free: a terminal that is full goes to the next line.
    const columns = widthOf(sink) - 1;
    sink.write(`${CLEAR}${fitted(compose(columns), columns)}`);
  }
}

/** A rate over the last seconds, and not since the beginning: what is known of the next ones. */
export class RecentRate {
  readonly #samples: (readonly [atMs: number, bytes: number])[] = [];

  add(atMs: number, bytes: number): void {
    this.#samples.push([atMs, bytes]);
    while (this.#samples.length > 2 && atMs - (this.#samples[1]?.[0] ?? atMs) >= RATE_MS) this.#samples.shift();
    if (this.#samples.length > MAX_SAMPLES) this.#samples.splice(1, 1);
  }

  /** Bytes a second; 0 where too little is known. */
  get perSecond(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last[0] - first[0] < LEAST_MS) return 0;
    return Math.max(0, ((last[1] - first[1]) / (last[0] - first[0])) * 1000);
  }
}

const RATE_MS = 5000;
const LEAST_MS = 200;
const MAX_SAMPLES = 200;
