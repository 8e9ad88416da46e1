import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { openStore } from '../../src/store/engine.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { StoreConflict, StoreOverBudget, type Change, type Store } from '../../src/store/store.ts';
import { FakeClock } from '../helpers/clock.ts';
import { KeptLog } from './open.ts';
import { verifies } from '../requirements.ts';

interface Commit {
  readonly changes: readonly Change[];
  readonly maxBytes?: number;
}

type Step =
  | { readonly do: 'commit'; readonly commits: readonly Commit[] }
  | { readonly do: 'wait'; readonly ms: number }
  | {
      readonly do: 'list';
      readonly prefix: string;
      readonly after?: string;
      readonly limit: number;
      readonly maxBytes?: number;
      readonly reverse: boolean;
    };

const START = 1_800_000_000_000;
const key = fc.constantFrom('a', 'a/', 'a/1', 'a/2', 'b', '\uffff', '\u{1f600}', '\u{1f600}x');
const expiresAt = fc.option(fc.integer({ min: START, max: START + 300 }), { nil: undefined });
const account = fc.option(fc.constantFrom('x/a', 'x/b', 'y'), { nil: undefined });
const ifRevision = fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined });
const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
const change: fc.Arbitrary<Change> = fc
  .oneof(
    fc.record({
      put: key,
      value: fc.string({ maxLength: 5 }).filter((v) => !v.includes('\0')),
      expiresAt,
      ifRevision,
      account,
    }),
    fc.record({ delete: key, ifRevision }),
  )
  // Absent is not the same as undefined here.
  .map((value) => withoutUndefined(value) as Change)
  // What has expired counts until it is removed, and when that is each twin decides.
  .filter((one) => !('put' in one) || one.expiresAt === undefined || one.account === undefined);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('commit' as const),
    commits: fc.array(
      fc
        .record({
          changes: fc.array(change, { maxLength: 3 }),
          maxBytes: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
        })
        .map((value) => withoutUndefined(value) as Commit),
      { maxLength: 4 },
    ),
  }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 100 }) }),
  fc
    .record({
      do: fc.constant('list' as const),
      prefix: fc.oneof(key, fc.constant('')),
      after: fc.option(key, { nil: undefined }),
      limit: fc.integer({ min: 1, max: 4 }),
      maxBytes: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
      reverse: fc.boolean(),
    })
    .map((value) => withoutUndefined(value) as Step),
);

const describeOutcome = (outcome: PromiseSettledResult<number>): unknown => {
  if (outcome.status === 'fulfilled') return outcome.value;
  if (outcome.reason instanceof StoreOverBudget) return [outcome.reason.budget, outcome.reason.bytes];
  return outcome.reason instanceof StoreConflict ? [outcome.reason.key, outcome.reason.revision] : outcome.reason;
};

const commitTo =
  (store: Store) =>
  ({ changes, maxBytes }: Commit): Promise<number> =>
    store.commit(changes, maxBytes === undefined ? {} : { within: [{ accounts: 'x/', maxBytes }] });

/** What a history looks like from outside. */
const observe = async (store: Store, clock: FakeClock, steps: readonly Step[]): Promise<unknown[]> => {
  const seen: unknown[] = [];
  for (const taken of steps) {
    if (taken.do === 'wait') clock.advance(taken.ms);
    else if (taken.do === 'list') seen.push(store.list(taken));
    else seen.push((await Promise.allSettled(taken.commits.map(commitTo(store)))).map(describeOutcome));
    seen.push(store.revision, store.count('a'), store.get('a'), store.list({ prefix: '', limit: 100 }));
  }
  return seen;
};

describe('both twins', () => {
  it(verifies('store.suite', 'tell the same of any history'), async () => {
    const folder = await mkdtemp(join(tmpdir(), 'loopsy-test-'));
    let file = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const [clock, other] = [new FakeClock(START), new FakeClock(START)];
        file += 1;
        const durable = openStore({ file: join(folder, `${file}.db`), clock, log: new KeptLog() });
        const memory = openMemoryStore({ clock: other });
        try {
          expect(await observe(durable, clock, steps)).toEqual(await observe(memory, other, steps));
        } finally {
          await durable.close();
        }
      }),
      { numRuns: 60 },
    );
    await rm(folder, { recursive: true });
  });
});
