import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { parseJson } from '../../src/kernel/parse-json.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { HostPairing } from '../../src/trust/pairing-host.ts';
import { JoinerPairing } from '../../src/trust/pairing-joiner.ts';
import { readSettle, type PairingParty } from '../../src/trust/pairing-party.ts';
import { Spake2 } from '../../src/trust/spake2.ts';
import { FakeClock } from '../helpers/clock.ts';
import { carryOut, codeOf, kai, maria, TwoMachines, wire } from './two-machines.ts';

/** The curve with a memory: the secrets here are the same in each run, so that thousands of runs take seconds. */
const withMemory = async (): Promise<Spake2> => {
  const spake2 = await Spake2.load((size) => Buffer.alloc(size, 5));
  const remember = <Args extends readonly unknown[], Result>(
    plain: (...args: Args) => Result,
    key: (...args: Args) => string,
  ) => {
    const known = new Map<string, { readonly result: Result }>();
    return (...args: Args): Result => {
      const name = key(...args);
      const found = known.get(name) ?? { result: plain(...args) };
      known.set(name, found);
      return found.result;
    };
  };
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  spake2.password = remember(spake2.password.bind(spake2), hex);
  spake2.share = remember(spake2.share.bind(spake2), ({ w }, side) => hex(w) + side);
  spake2.agree = remember(spake2.agree.bind(spake2), ({ w }, { side, theirs }) => hex(w) + side + hex(theirs));
  return spake2;
};

let spake2: Spake2;
beforeAll(async () => {
  spake2 = await withMemory();
});

interface Run {
  readonly host: HostPairing;
  readonly joiner: JoinerPairing;
}
const newRun = (): Run => {
  const clock = new FakeClock();
  const host = new HostPairing({ spake2, own: kai, clock, below: () => 482_913 });
  const place = { host: '192.0.2.1', port: 19532 };
  return { host, joiner: new JoinerPairing({ spake2, own: maria, clock, code: codeOf(host), place }) };
};

/** What each of the first six messages is made by, and who takes it in. */
const FROM = '192.0.2.9';
const STEPS: readonly ((run: Run, last: unknown) => unknown)[] = [
  ({ joiner }) => joiner.initiate(),
  ({ host }, m1) => host.initiate(m1, FROM),
  ({ joiner }, m2) => joiner.prove(m2),
  ({ host }, m3) => host.prove(m3, FROM),
  ({ joiner }, m4) => joiner.reveal(m4, { tlsCertificate: kai.certificate }),
  ({ host }, m5) => host.reveal(m5),
  ({ joiner }, m6) => joiner.compare(m6),
];

/** A body as bytes, with one bit flipped; what cannot be read is no body. */
const flip = (message: unknown, index: number): unknown => {
  const bytes = Buffer.from(JSON.stringify(message));
  const at = index % bytes.length;
  bytes.writeUInt8((bytes[at] ?? 0) ^ (1 << (index % 8)), at);
  return parseJson(bytes.toString('utf8'));
};
const sizeOf = (message: unknown): number => Buffer.byteLength(JSON.stringify(message));

/** Runs up to message `upTo`; its taker gets what `change` makes of it, and the run goes on as far as it can. */
const runWith = async (upTo: number, change: (message: unknown) => unknown): Promise<'refused' | 'accepted'> => {
  const run = newRun();
  let message: unknown;
  for (const [index, step] of STEPS.entries()) {
    try {
      const taken = index === upTo ? change(message) : message;
      const made = await step(run, taken);
      message = index === STEPS.length - 1 ? made : wire(made);
    } catch (error) {
      if (error instanceof LoopsyError) return 'refused';
      throw error;
    }
  }
  return 'accepted';
};

const sample = async (upTo: number): Promise<unknown> => {
  let seen: unknown;
  await runWith(upTo, (message) => (seen = message));
  return seen;
};

describe('one flipped bit at every byte', () => {
  it.each([1, 2, 3, 4, 5, 6])('of M%i: nobody takes it', async (number) => {
    const size = sizeOf(await sample(number));
    expect(await runWith(number, (message) => message)).toBe('accepted');
    const accepted: number[] = [];
    for (let index = 0; index < size; index += 1) {
      if ((await runWith(number, (message) => flip(message, index))) === 'accepted') accepted.push(index);
    }
    expect(accepted).toEqual([]);
    console.log(`M${number}: ${size} bytes, each flipped in a run of its own`);
  });

  it('of M7 and M8: it says nothing', async () => {
    const { host, joiner } = await new TwoMachines().pair();
    joiner.confirm({});
    host.confirm({});
    carryOut(joiner);
    carryOut(host);
    const [m7, m8] = [wire(joiner.request()), wire(host.reply())];
    const quiet = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        if (!(error instanceof LoopsyError)) throw error;
      }
    };
    for (let index = 0; index < sizeOf(m7); index += 1) {
      quiet(() => {
        const { attempt, tokens } = readSettle(flip(m7, index));
        if (attempt === host.facts.attempt) host.hear(tokens);
      });
    }
    for (let index = 0; index < sizeOf(m8); index += 1) quiet(() => joiner.takeReply(flip(m8, index)));
    expect([host.decision.heard, joiner.decision.heard]).toEqual([[], []]);
    host.hear(readSettle(m7).tokens);
    expect(host.decision.heard).toEqual(['yes']);
  });
});

describe('messages in any order', () => {
  type Move = 'm1' | 'm3' | 'm5' | 'old-m3' | 'old-m5' | 'm7' | 'bad' | 'wait' | 'person';
  const moves: readonly Move[] = ['m1', 'm3', 'm5', 'old-m3', 'old-m5', 'm7', 'bad', 'wait', 'person'];

  it('a host never comes further than its last right message, and never trusts without a yes of both', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...moves), { maxLength: 24 }), async (sequence) => {
        const two = new TwoMachines();
        const { host } = two;
        const joiner = two.joiner();
        const kept: { m2?: unknown; m3?: unknown; m4?: unknown; m5?: unknown; party?: PairingParty } = {};
        const old = new TwoMachines();
        const oldM3 = await old.ask(old.joiner(), FROM);
        const steps: Readonly<Record<Move, () => unknown>> = {
          m1: async () =>
            (kept.m2 ??= joiner.state === 'asking' ? await two.initiate(joiner.initiate(), FROM) : undefined),
          m3: async () => {
            if (kept.m2 !== undefined) kept.m3 ??= wire(joiner.prove(kept.m2));
            if (kept.m3 !== undefined) kept.m4 ??= await two.judge(kept.m3, FROM);
          },
          m5: () => {
            if (kept.m4 !== undefined) kept.m5 ??= wire(joiner.reveal(kept.m4, { tlsCertificate: kai.certificate }));
            if (kept.m5 !== undefined) kept.party ??= joiner.compare(host.reveal(kept.m5));
          },
          'old-m3': () => two.judge(oldM3, FROM),
          'old-m5': () => host.reveal({ attempt: (oldM3 as { attempt: string }).attempt, box: 'AAAA' }),
          m7: () => {
            if (kept.party !== undefined) host.party?.hear(readSettle(wire(kept.party.request())).tokens);
          },
          bad: () => two.judge({ attempt: 7 }, FROM),
          wait: () => two.clock.advance(700),
          person: () => (kept.party?.saidYes === true ? host.party?.confirm({}) : kept.party?.confirm({})),
        };
        for (const move of sequence) {
          try {
            await steps[move]();
          } catch (error) {
            // A joiner that is asked twice says so by a TypeError of its own.
            if (!(error instanceof LoopsyError) && !(error instanceof TypeError)) throw error;
          }
          if (kept.party !== undefined) carryOut(kept.party);
          if (host.party !== undefined) carryOut(host.party);
          const { state } = host.status;
          expect(state === 'compare').toBe(kept.m5 !== undefined && host.party !== undefined);
          if (state === 'open') expect(kept.m4).toBeUndefined();
          const bothSaidYes = kept.party?.saidYes === true && host.party?.saidYes === true;
          if (!bothSaidYes) expect(host.party?.stage ?? 'compare').not.toMatch(/trusted|settled/);
        }
      }),
      { numRuns: process.env['LOOPSY_LONG'] === '1' ? 500 : 100 },
    );
  });
});
