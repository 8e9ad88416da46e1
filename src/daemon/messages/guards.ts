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
  /** When it was sent: ms by the sender's even time, so that both nodes count the same. */
  readonly sentAt: number;
  /** The same by this node's, in which both sides of a talk are seen. */
  readonly at: number;
  /** True where its sender has counted it: a moment between that and its id makes no difference. */
  readonly wasCounted?: boolean;
  /** In UTF-16 units. */
  readonly length: number;
  readonly hops: number;
}

/** Why a message does not pass. */
export interface Stopped {
  readonly why: 'rate' | 'chain' | 'loop';
  /** How long after it the next one may pass. */
  readonly waitMs?: number;
  /** True for the one that begins the rest. */
  readonly begins?: boolean;
}

const MINUTE_MS = 60_000;
const SLACK_MS = 2000;
/** Longer ones are work, not politeness. */
const SHORT = 280;
const LOOP = { most: 20, withinMs: 2 * MINUTE_MS, restMs: 5 * MINUTE_MS };
const MAX_KEPT = 4096;

interface Talk {
  /** When short messages passed, oldest first. */
  readonly times: number[];
  restUntilMs: number;
}

/**
 * The guards against agents that write to each other for ever. Both nodes of a talk count the same messages, each by
 * itself: whatever one lets pass, the other does, too.
 */
export class Guards {
  readonly #settings: () => GuardSettings;
  /** Who is used last is last. */
  readonly #rates = new Map<string, number[]>();
  readonly #talks = new Map<string, Talk>();

  constructor(settings: () => GuardSettings) {
    this.#settings = settings;
  }

  /** Counts a message that passes. @returns why it does not, where it does not. */
  pass(message: Passing): Stopped | undefined {
    const { perMinute, maxChain, loopGuard } = this.#settings();
    if (message.hops > maxChain) return { why: 'chain' };
    const talk = kept(this.#talks, pairOf(message.from, message.to), () => ({ times: [], restUntilMs: -Infinity }));
    const { at, sentAt } = message;
    if (loopGuard && at < talk.restUntilMs) return { why: 'loop', waitMs: talk.restUntilMs - at };
    const sent = kept(this.#rates, message.from, () => []);
    dropBefore(sent, sentAt - MINUTE_MS + (message.wasCounted === true ? SLACK_MS : 0));
    if (sent.length >= perMinute)
      return { why: 'rate', waitMs: (sent[sent.length - perMinute] ?? sentAt) + MINUTE_MS - sentAt };
    if (loopGuard && message.length < SHORT) {
      dropBefore(talk.times, at - LOOP.withinMs);
      if (talk.times.length >= LOOP.most) return { why: 'loop', begins: true, waitMs: this.#rest(talk, at) };
      talk.times.push(at);
    }
    sent.push(sentAt);
    return undefined;
  }

  /** The other side has seen a loop at `at`: both rest. @returns false where they do already. */
  rest(from: string, to: string, { at, untilMs }: { readonly at: number; readonly untilMs: number }): boolean {
    const talk = kept(this.#talks, pairOf(from, to), () => ({ times: [], restUntilMs: -Infinity }));
    const isNew = talk.restUntilMs <= at;
    talk.restUntilMs = Math.max(talk.restUntilMs, untilMs);
    return isNew;
  }

  #rest(talk: Talk, at: number): number {
    talk.times.length = 0;
    talk.restUntilMs = at + LOOP.restMs;
    return LOOP.restMs;
  }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

const dropBefore = (times: number[], before: number): void => {
  const first = times.findIndex((time) => time > before);
  times.splice(0, first === -1 ? times.length : first);
};

/** What is kept under a key, made where it is not there; whoever was not used for the longest time goes. */
const kept = <Value>(table: Map<string, Value>, key: string, make: () => Value): Value => {
  const value = table.get(key) ?? make();
  table.delete(key);
  if (table.size >= MAX_KEPT) for (const oldest of [...table.keys()].slice(0, 1)) table.delete(oldest);
  table.set(key, value);
  return value;
};

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
