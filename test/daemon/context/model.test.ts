import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import type { ContextEvent } from '../../../src/protocol/context.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { openStore } from '../../../src/store/engine.ts';
import { randomFrom, seedOfRun } from '../../helpers/seed.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { KeptLog } from '../../store/open.ts';
import { callBy, type Desk, deskOf, KAI, MARIA, OWNER } from './desk.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
/** 10,000 with `npm run test:long`. */
const HISTORIES = LONG ? 10_000 : 100;
const CLIENTS = [OWNER, KAI, MARIA];
const KEYS = ['a', 'b', 'c'];

/** What a key has: a value, its revision, and when it ends. */
interface State {
  readonly value: string;
  readonly revision: number;
  readonly endsAt: number;
}

/** A change that was acknowledged. */
interface Done {
  readonly key: string;
  readonly revision: number;
  /** Undefined: it was deleted. */
  readonly state: State | undefined;
  /** The condition that it had. */
  readonly ifRevision: number | undefined;
}

/** A condition that did not hold. */
interface Refused {
  readonly key: string;
  readonly is: number;
  readonly wanted: number;
}

/** One history: its own keys, its clients, and a watch of them. */
class History {
  readonly #desk: Desk;
  readonly #random: () => number;
  readonly #prefix: string;
  readonly #watch: StreamSource;
  readonly seen: ContextEvent[] = [];
  /** What is there, key by key, as the model has it. */
  readonly #state = new Map<string, State>();
  #values = 0;

  constructor(desk: Desk, random: () => number, number: number) {
    this.#desk = desk;
    this.#random = random;
    this.#prefix = `h${number}/`;
    this.#watch = desk.context.watch({ prefix: this.#prefix }, callBy(OWNER));
    void this.#read();
  }

  async run(): Promise<void> {
    const rounds = 1 + this.#below(4);
    for (let round = 0; round < rounds; round += 1) {
      const from = this.seen.length;
      const outcomes = await Promise.all(CLIENTS.map((_, at) => this.#client(at)));
      await this.#settle();
      this.#check(outcomes.flat(), from);
      if (this.#below(2) === 0) await this.#wait(1000 * (1 + this.#below(3)));
    }
    expect(this.#there()).toEqual(
      new Map([...this.#state].map(([key, { value, revision }]) => [key, { value, revision }])),
    );
    this.#watch.close();
  }

  /** Some operations, one after the other; other clients do theirs at the same time. */
  async #client(at: number): Promise<(Done | Refused)[]> {
    const { context } = this.#desk;
    const outcomes: (Done | Refused)[] = [];
    for (let count = this.#below(4); count > 0; count -= 1) {
      const key = this.#prefix + (KEYS[this.#below(KEYS.length)] ?? '');
      const ifRevision = this.#condition(key);
      const wanted = ifRevision === undefined ? {} : { ifRevision };
      try {
        if (this.#below(4) === 0) {
          const { revision } = await context.delete({ key, ...wanted });
          outcomes.push({ key, revision, state: undefined, ifRevision });
        } else {
          outcomes.push({ key, ifRevision, ...(await this.#set(at, { key, ...wanted })) });
        }
      } catch (thrown) {
        if (!(thrown instanceof LoopsyError)) throw thrown;
        if (thrown.error === 'context_conflict')
          outcomes.push({ key, is: Number(thrown.details?.['revision']), wanted: ifRevision ?? -1 });
        else expect(thrown.error).toBe('context_not_found');
      }
    }
    return outcomes;
  }

  async #set(at: number, input: { key: string; ifRevision?: number }): Promise<Pick<Done, 'revision' | 'state'>> {
    const { context, store } = this.#desk;
    this.#values += 1;
    const value = `${this.#values}`;
    const ttl = this.#below(3) === 0 ? 1 + this.#below(3) : undefined;
    const endsAt = ttl === undefined ? Infinity : store.now() + ttl * 1000;
    const call = callBy(CLIENTS[at] ?? OWNER);
    const { revision } = await context.set({ ...input, value, ...(ttl === undefined ? {} : { ttl }) }, call);
    return { revision, state: { value, revision, endsAt } };
  }

  #condition(key: string): number | undefined {
    const kind = this.#below(3);
    if (kind === 0) return undefined;
    return kind === 1 ? 0 : (this.#state.get(key)?.revision ?? 0);
  }

  /** The acknowledged changes, in the order of their revisions, lead from what was there to what is there. */
  #check(outcomes: readonly (Done | Refused)[], from: number): void {
    const done = outcomes.filter((one): one is Done => 'state' in one).toSorted((a, b) => a.revision - b.revision);
    const before = new Map(this.#state);
    const had = new Map<string, number[]>(KEYS.map((key) => [this.#prefix + key, []]));
    for (const [key, revisions] of had) revisions.push(before.get(key)?.revision ?? 0);
    for (const { key, state, ifRevision } of done) {
      const is = this.#state.get(key)?.revision ?? 0;
      if (ifRevision !== undefined) expect(is).toBe(ifRevision);
      if (state === undefined) this.#state.delete(key);
      else this.#state.set(key, state);
      had.get(key)?.push(state?.revision ?? 0);
    }
    for (const refused of outcomes) {
      if ('state' in refused) continue;
      expect(refused.is).not.toBe(refused.wanted);
      expect(had.get(refused.key)).toContain(refused.is);
    }
    // A watch hears of each of them, in that order, and of nothing else.
    expect(this.seen.slice(from).map(changeIn)).toEqual(
      done.map(({ key, revision, state }) => ({ key, revision, value: state?.value })),
    );
  }

  /** Time goes on; what has come to its end is gone, and is told. */
  async #wait(ms: number): Promise<void> {
    const { clock, store } = this.#desk;
    const from = this.seen.length;
    clock.advance(ms);
    const ended = (): string[] =>
      [...this.#state].filter(([, { endsAt }]) => endsAt <= store.now()).map(([key]) => key);
    for (const key of ended()) expect(store.get(`ctx/${key}`)).toBeUndefined();
    for (let turn = 0; this.seen.length < from + ended().length && turn < 5000; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      // A sweep waits a little for the next.
      if (turn % 10 === 9) clock.advance(100);
    }
    const told = this.seen.slice(from);
    const keys = told.map((event) => (event.type === 'delete' && event.expired === true ? event.key : event.type));
    expect(keys.toSorted()).toEqual(ended().toSorted());
    for (const key of ended()) this.#state.delete(key);
  }

  async #settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async #read(): Promise<void> {
    for (let piece = await this.#watch.next(); piece !== undefined; piece = await this.#watch.next()) {
      const event = JSON.parse(Buffer.from(piece.bytes).toString()) as ContextEvent;
      if (event.type === 'set' || event.type === 'delete') this.seen.push(event);
      else expect(['snapshot', 'ready']).toContain(event.type);
    }
  }

  #there(): Map<string, Pick<State, 'value' | 'revision'>> {
    const { entries } = this.#desk.context.list({ prefix: this.#prefix });
    return new Map(entries.map(({ key, value, revision }) => [key, { value, revision }]));
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

const changeIn = (event: ContextEvent): { key: string; revision: number; value: string | undefined } => {
  if (event.type === 'set') {
    const { key, revision, value } = event.entry;
    return { key, revision, value };
  }
  if (event.type === 'delete') return { key: event.key, revision: event.revision, value: undefined };
  throw new Error(`${event.type} is no change`);
};

describe('any history of several clients', () => {
  it(
    verifies('context.model', 'equals the model: conditions, expiry, and a watch without gaps'),
    { timeout: LONG ? 600_000 : 20_000 },
    async () => {
      const seed = seedOfRun('test/daemon/context/model.test.ts');
      const random = randomFrom(seed);
      const folder = await tempFolder();
      const limits = { maxBytes: 1e9, maxBytesPerPeer: 1e9 };
      const desk = await deskOf(limits, (clock) =>
        openStore({ file: join(folder, 'loopsy.db'), clock, log: new KeptLog() }),
      );
      for (let number = 0; number < HISTORIES; number += 1) await new History(desk, random, number).run();
      await desk.store.close();
    },
  );
});
