import { randomBytes } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { passwordOf } from '../../src/trust/pairing-crypto.ts';
import { codeOf, kai, spake2, TwoMachines, wire } from './two-machines.ts';

const STEP_MS = 50;
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
const pake = b64(spake2.share(passwordOf(spake2, randomBytes(6)), 'a').bytes);
const attemptOf = (m2: unknown): string => (m2 as { attempt: string }).attempt;

/** What a driver does with a step: it obeys `rate_limited`, for up to 30 s. */
class Patient {
  readonly #two: TwoMachines;
  constructor(two: TwoMachines) {
    this.#two = two;
  }

  async send<Result>(step: () => Promise<Result>): Promise<Result> {
    const begun = this.#two.clock.monotonicMs();
    for (;;) {
      try {
        return await step();
      } catch (error) {
        const wait =
          error instanceof LoopsyError && error.error === 'rate_limited' ? error.details?.['retryAfterMs'] : 0;
        if (typeof wait !== 'number' || wait === 0 || this.#two.clock.monotonicMs() - begun > 30_000) throw error;
        await new Promise<void>((resolve) => this.#two.clock.after(wait, resolve));
      }
    }
  }
}

/** A crowd of strangers that does all it can, all the time. `proves`: it guesses; else it only opens attempts. */
const crowd = (two: TwoMachines, sources: number, proves: boolean) => {
  const counts = { opened: 0, guessed: 0 };
  const one = async (from: string, isOver: () => boolean): Promise<void> => {
    while (!isOver()) {
      try {
        const attempt = attemptOf(await two.host.initiate({ v: 1, pake }, from));
        counts.opened += 1;
        if (proves) await two.host.prove({ attempt, confirm: b64(randomBytes(32)), box: '' }, from);
      } catch (error) {
        if (error instanceof LoopsyError && error.error === 'pair_wrong_code') counts.guessed += 1;
      }
      // It does not wait for as long as it is told to.
      await new Promise<void>((resolve) => two.clock.after(STEP_MS, resolve));
    }
  };
  return {
    counts,
    start: (isOver: () => boolean): void => {
      for (let index = 0; index < sources; index += 1) void one(`10.0.${index}.1`, isOver);
    },
  };
};

const pass = async (two: TwoMachines, ms: number, isDone: () => boolean = () => false): Promise<void> => {
  for (let left = ms; left > 0 && !isDone(); left -= STEP_MS) {
    await soon();
    two.clock.advance(STEP_MS);
  }
  await soon();
};

/** A person who enters the code that is shown; ms from the first message to the number. */
const pairThrough = async (two: TwoMachines): Promise<{ tookMs: number; same: boolean }> => {
  const begun = two.clock.monotonicMs();
  const joiner = two.joiner();
  const patient = new Patient(two);
  const tlsCertificate = kai.certificate;
  const m2 = wire(await patient.send(() => two.host.initiate(joiner.initiate(), '192.0.2.9')));
  const m3 = wire(joiner.prove(m2));
  const m4 = wire(await patient.send(() => two.host.prove(m3, '192.0.2.9')));
  const party = joiner.compare(two.host.reveal(wire(joiner.reveal(m4, { tlsCertificate }))));
  return { tookMs: two.clock.monotonicMs() - begun, same: party.sas === two.host.party?.sas };
};

const CROWD_S = process.env['LOOPSY_LONG'] === '1' ? 290 : 60;

describe('strangers at full speed, from 50 sources', () => {
  it(`send wrong codes for ${CROWD_S} s (290 in test:long): they can’t kill the long code, and don’t lock out the right one`, async () => {
    const two = new TwoMachines();
    let isOver = false;
    const strangers = crowd(two, 50, true);
    strangers.start(() => isOver);
    await pass(two, 5000);
    expect(two.host.status.code).toMatch(/^[0-9]{9}$/);
    expect(two.host.status.killedBy.length).toBe(3);
    const { code } = two.host.status;
    await pass(two, CROWD_S * 1000);
    expect(two.host.status.code).toBe(code);
    expect(strangers.counts.guessed).toBeGreaterThan(3.5 * CROWD_S);
    expect(strangers.counts.guessed).toBeLessThanOrEqual(5 * (CROWD_S + 10));

    let result: { tookMs: number; same: boolean } | undefined;
    void pairThrough(two).then((one) => (result = one));
    await pass(two, 5000, () => result !== undefined);
    isOver = true;
    expect(result?.same).toBe(true);
    expect(result?.tookMs).toBeLessThanOrEqual(2000);
    console.log(`${strangers.counts.guessed} guesses in ${CROWD_S + 5} s; the right code took ${result?.tookMs} ms`);
  });

  it('open attempts for 60 s and prove nothing: the right code gets through, and no guess is counted', async () => {
    const two = new TwoMachines();
    let isOver = false;
    const strangers = crowd(two, 50, false);
    strangers.start(() => isOver);
    const code = codeOf(two.host);
    await pass(two, 60_000);
    expect(codeOf(two.host)).toEqual(code);
    let result: { tookMs: number; same: boolean } | undefined;
    void pairThrough(two).then((one) => (result = one));
    await pass(two, 5000, () => result !== undefined);
    isOver = true;
    expect(result?.same).toBe(true);
    expect(result?.tookMs).toBeLessThanOrEqual(2000);
    console.log(`${strangers.counts.opened} attempts in 60 s; the right code took ${result?.tookMs} ms`);
  });
});
