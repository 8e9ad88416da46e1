import { LoopsyError } from '../../protocol/errors.ts';

/** What guards mail: config `messages`. */
export interface GuardSettings {
  /** Messages a minute of one sender to one node. */
  readonly perMinute: number;
  /** Replies in one chain. */
  readonly maxChain: number;
  /** Whether short messages between the same two may not go to and fro for long. */
  readonly loopGuard: boolean;
}

/** One message that wants to pass. */
export interface Passing {
  /** Who writes, and to whom: `<nodeId>#<label>`. */
  readonly from: string;
  readonly to: string;
  /** Now, or when it was sent: ms by this node's even time. */
  readonly at: number;
  /** In UTF-16 units. */
  readonly length: number;
  readonly hops: number;
}

/** One that another node has let pass, and hands over now. */
export interface Coming extends Passing {
  /** When it was sent: ms by the sender's even time, by which its node has counted. */
  readonly sentAt: number;
  /** How long ago that was. */
  readonly ageMs: number;
}

/** Why a message does not pass. */
export interface Stopped {
  readonly why: 'rate' | 'chain' | 'loop';
  /** How long after it the next one may pass. */
  readonly waitMs?: number;
  /** True for the one that begins the rest. */
  readonly begins?: boolean;
}

/** What becomes of one that is handed over. */
export interface Taken {
  /** Why it is not taken. */
  readonly stopped?: Stopped;
  /** A rest begins with it, which the other side has to be told: for so long. */
  readonly restMs?: number;
}

const MINUTE_MS = 60_000;
/** Between a sender's count and the id that tells its time lies a moment. */
const SLACK_MS = 2000;
/** Longer ones are work, not politeness. */
export const SHORT = 280;
const LOOP = { most: 20, withinMs: 2 * MINUTE_MS, restMs: 5 * MINUTE_MS };
/** What is older is not counted any more. */
export const COUNTED_MS = LOOP.withinMs;
const MAX_KEPT = 4096;

/** What has come of one who writes to another one: of its short messages the newest. */
interface Flow {
  /** By the sender's time, of those that were taken. */
  readonly sentAt: number[];
  /** By this node's time, in which both sides of a talk are seen. */
  readonly at: number[];
  /** Its node let more out than may be: a span by its own time, in which nothing is taken. */
  rest: { readonly fromMs: number; readonly untilMs: number };
}

/**
 * The guards against agents that write to each other for ever. Each node counts by itself. What one that guards has let
 * out is taken by the other, however late: there only what one sender has written is judged, by its own time. Where
 * both have written too much together, the next ones are not let out.
 */
export class Guards {
  readonly #settings: () => GuardSettings;
  /** When each sender wrote, here and elsewhere: others can't push out what is known of those here. */
  readonly #rates = { out: new Map<string, number[]>(), in: new Map<string, number[]>() };
  /** When short messages were let out. In each table who is used last is last. */
  readonly #sent = new Map<string, number[]>();
  readonly #came = new Map<string, Flow>();
  readonly #rests = new Map<string, number>();

  constructor(settings: () => GuardSettings) {
    this.#settings = settings;
  }

  /** Counts a message that is let out. @returns why it is not, where it is not. */
  pass(message: Passing): Stopped | undefined {
    const { perMinute, maxChain, loopGuard } = this.#settings();
    const { from, at, hops } = message;
    if (hops > maxChain) return { why: 'chain' };
    const restMs = this.#restLeft(message);
    if (loopGuard && restMs > 0) return { why: 'loop', waitMs: restMs };
    const sent = within(this.#rates.out.get(from), { after: at - MINUTE_MS, upTo: at });
    if (sent.length >= perMinute) return rateError(sent, perMinute, at);
    if (loopGuard && message.length < SHORT && this.#talked(message) >= LOOP.most)
      return { why: 'loop', begins: true, waitMs: this.#begin(message) };
    this.count(message);
    return undefined;
  }

  /** Counts a message that was let out. */
  count({ from, to, at, length }: Omit<Passing, 'hops'>): void {
    kept(this.#rates.out, from, () => []).push(at);
    if (length < SHORT)
      pushNewest(
        kept(this.#sent, flowOf(from, to), () => []),
        at,
      );
  }

  /** Counts a message that is handed over. */
  take(message: Coming): Taken {
    const { perMinute, maxChain, loopGuard } = this.#settings();
    const { from, to, at, sentAt, hops } = message;
    if (hops > maxChain) return { stopped: { why: 'chain' } };
    const flow = kept(this.#came, flowOf(from, to), newFlow);
    const { fromMs, untilMs } = flow.rest;
    if (loopGuard && fromMs <= sentAt && sentAt < untilMs) return { stopped: { why: 'loop' } };
    const rate = kept(this.#rates.in, from, () => []);
    const sent = within(rate, { after: sentAt - MINUTE_MS + SLACK_MS, upTo: sentAt });
    if (sent.length >= perMinute) return { stopped: rateError(sent, perMinute, sentAt) };
    const isShort = loopGuard && message.length < SHORT;
    if (isShort && isOneTooMany(flow, sentAt)) {
      flow.rest = { fromMs: sentAt, untilMs: sentAt + LOOP.restMs };
      return { stopped: { why: 'loop' }, ...this.#beginOnce(message) };
    }
    rate.push(sentAt);
    if (!isShort) return {};
    flow.sentAt.push(sentAt);
    pushNewest(flow.at, at - message.ageMs);
    return this.#talked(message) > LOOP.most ? this.#beginOnce(message) : {};
  }

  /** The other side has seen a loop: both rest. @returns false where they do already. */
  rest(from: string, to: string, { at, untilMs }: { readonly at: number; readonly untilMs: number }): boolean {
    const pair = pairOf(from, to);
    const known = this.#rests.get(pair) ?? -Infinity;
    put(this.#rests, pair, Math.max(known, untilMs));
    return known <= at;
  }

  /** How many short messages went to and fro up to now. */
  #talked({ from, to, at }: Passing): number {
    const span = { after: at - LOOP.withinMs, upTo: at };
    const flows = [flowOf(from, to), flowOf(to, from)];
    const times = flows.flatMap((flow) => [this.#sent.get(flow), this.#came.get(flow)?.at]);
    return times.reduce((sum, some) => sum + within(some, span).length, 0);
  }

  #restLeft({ from, to, at }: Passing): number {
    return (this.#rests.get(pairOf(from, to)) ?? -Infinity) - at;
  }

  #begin({ from, to, at }: Passing): number {
    put(this.#rests, pairOf(from, to), at + LOOP.restMs);
    return LOOP.restMs;
  }

  /** A rest begins, unless it has, or what it is about is as old as it would be long. */
  #beginOnce(message: Coming): { restMs?: number } {
    return message.ageMs >= LOOP.restMs || this.#restLeft(message) > 0 ? {} : { restMs: this.#begin(message) };
  }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

const flowOf = (from: string, to: string): string => `${from} ${to}`;

const newFlow = (): Flow => ({ sentAt: [], at: [], rest: { fromMs: 0, untilMs: 0 } });

/** True where a node that guards would not have let it out: its sender alone has written too much. */
const isOneTooMany = ({ sentAt: times }: Flow, sentAt: number): boolean =>
  within(times, { after: sentAt - LOOP.withinMs + SLACK_MS, upTo: sentAt }).length >= LOOP.most;

const rateError = (sent: readonly number[], perMinute: number, at: number): Stopped => ({
  why: 'rate',
  waitMs: (sent[sent.length - perMinute] ?? at) + MINUTE_MS - at,
});

/** Only those of the span stay. What lies behind it was sent in another life of its sender, whose time has begun anew. */
const within = (times: number[] = [], { after, upTo }: { after: number; upTo: number }): number[] => {
  const first = times.findIndex((time) => time > after);
  times.splice(0, first === -1 ? times.length : first);
  while ((times.at(-1) ?? upTo) > upTo) times.pop();
  return times;
};

/** More than make a loop need not be known. */
const pushNewest = (times: number[], at: number): void => {
  times.push(at);
  if (times.length > LOOP.most + 1) times.shift();
};

/** Put last; whoever was not used for the longest time goes. */
const put = <Value>(table: Map<string, Value>, key: string, value: Value): Value => {
  table.delete(key);
  if (table.size >= MAX_KEPT) for (const oldest of [...table.keys()].slice(0, 1)) table.delete(oldest);
  table.set(key, value);
  return value;
};

/** What is kept under a key, made where it is not there. */
const kept = <Value>(table: Map<string, Value>, key: string, make: () => Value): Value =>
  put(table, key, table.get(key) ?? make());

const WHY: Readonly<Record<Stopped['why'], string>> = {
  rate: 'more messages within a minute than messages.perMinute',
  chain: 'this chain of replies is longer than messages.maxChain',
  loop: 'more than 20 short messages between these two within two minutes: both rest for five minutes',
};

/** What a guard says to who writes. */
export const stoppedError = ({ why, waitMs }: Stopped): LoopsyError =>
  new LoopsyError('message_loop', {
    message: WHY[why],
    details: { why, ...(waitMs === undefined ? {} : { retryAfterMs: Math.max(1, Math.ceil(waitMs)) }) },
  });
