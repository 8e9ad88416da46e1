import { describe, expect, it } from 'vitest';

import { type EffectAnswer, EffectTable } from '../../../src/daemon/edge/effects.ts';
import { FakeClock } from '../../helpers/clock.ts';

const answer = (body: string): EffectAnswer => ({ status: 200, body, object: undefined });
const never = new AbortController().signal;

describe('effects', () => {
  it('carries out a request once, however often it is repeated', async () => {
    const table = new EffectTable(new FakeClock());
    let runs = 0;
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer(`run ${(runs += 1)}`));
    const answers = await Promise.all(
      [0, 1, 2].map((at) => table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: at > 0 ? 0 : undefined })),
    );
    expect(answers.map(({ body }) => body)).toEqual(['run 1', 'run 1', 'run 1']);
  });

  it('gives each request of each caller its own run', async () => {
    const table = new EffectTable(new FakeClock());
    let runs = 0;
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer(`run ${(runs += 1)}`));
    for (const key of ['a\n1', 'a\n2', 'b\n1'])
      await table.once(key, run, { digest: 'd', gone: never, repeatAgeMs: undefined });
    expect(runs).toBe(3);
  });

  it('lets a run go on when its connection breaks and the request is repeated within 10 s', async () => {
    const clock = new FakeClock();
    const table = new EffectTable(clock);
    const gone = new AbortController();
    let finish: (value: EffectAnswer) => void = () => undefined;
    let ended: unknown;
    const run = (signal: AbortSignal): Promise<EffectAnswer> => {
      signal.addEventListener('abort', () => (ended = signal.reason));
      return new Promise((done) => (finish = done));
    };
    const first = table.once('a\n1', run, { digest: 'd', gone: gone.signal, repeatAgeMs: undefined });
    gone.abort();
    clock.advance(9000);
    const second = table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: 0 });
    clock.advance(60_000);
    finish(answer('done'));
    expect((await second).body).toBe('done');
    expect((await first).body).toBe('done');
    expect(ended).toBeUndefined();
  });

  it('tells a run that nobody waits, 10 s after the last connection broke', async () => {
    const clock = new FakeClock();
    const table = new EffectTable(clock);
    const gone = new AbortController();
    let reason: unknown;
    const run = (signal: AbortSignal): Promise<EffectAnswer> =>
      new Promise((done) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          done(answer('ended'));
        });
      });
    const first = table.once('a\n1', run, { digest: 'd', gone: gone.signal, repeatAgeMs: undefined });
    gone.abort();
    clock.advance(10_000);
    await first;
    expect(reason).toBe('client-gone');
  });

  it('ends a run that is cancelled, and says whether it did', async () => {
    const table = new EffectTable(new FakeClock());
    const run = (signal: AbortSignal): Promise<EffectAnswer> =>
      new Promise((done) => signal.addEventListener('abort', () => done(answer(String(signal.reason)))));
    const pending = table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: undefined });
    expect(table.cancel('a\n1', 'cancel')).toBe(true);
    expect((await pending).body).toBe('cancel');
    expect(table.cancel('a\n1', 'cancel')).toBe(false);
    expect(table.cancel('a\n9', 'cancel')).toBe(false);
  });

  it('a key that was used is no other request’s: nothing is carried out, whether the first one runs or has ended', async () => {
    const table = new EffectTable(new FakeClock());
    const request = { digest: 'run', gone: never, repeatAgeMs: undefined };
    let finish: (value: EffectAnswer) => void = () => undefined;
    const first = table.once('a\n1', () => new Promise((done) => (finish = done)), request);
    let others = 0;
    const other = (): Promise<EffectAnswer> => Promise.resolve(answer(String((others += 1))));
    const used = { error: 'invalid_request', message: expect.stringContaining('used for another request') };
    const asAnother = (): Promise<EffectAnswer> => table.once('a\n1', other, { ...request, digest: 'remove' });
    await expect(asAnother()).rejects.toMatchObject(used);
    expect(() => table.claim('a\n1', 'remove')).toThrow('used for another request');
    finish(answer('ran'));
    expect((await first).body).toBe('ran');
    await expect(asAnother()).rejects.toMatchObject(used);
    expect(() => table.claim('a\n1', 'remove')).toThrow('used for another request');
    expect((await table.once('a\n1', other, request)).body).toBe('ran');
    expect(others).toBe(0);
  });

  it('a key that was taken for a stream is its repeats’, and nothing else’s, for ten minutes', async () => {
    const clock = new FakeClock();
    const table = new EffectTable(clock);
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer('done'));
    const request = { digest: 'remove', gone: never, repeatAgeMs: undefined };
    table.claim('a\n1', 'stream');
    table.claim('a\n1', 'stream');
    expect(table.isUnderWay('a\n1')).toBe(false);
    expect(table.cancel('a\n1', 'cancel')).toBe(false);
    await expect(table.once('a\n1', run, request)).rejects.toMatchObject({ error: 'invalid_request' });
    expect((await table.once('b\n1', run, request)).body).toBe('done');
    clock.advance(601_000);
    expect((await table.once('a\n1', run, request)).body).toBe('done');
  });

  it('a large answer is asked for again where the effect knows its repeats, and room for it is no reason to forget others', async () => {
    const table = new EffectTable(new FakeClock());
    const request = { digest: 'run', gone: never, repeatAgeMs: undefined, knowsRepeats: true };
    let asked = 0;
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer(`${(asked += 1)}`.padEnd(1_000_000)));
    for (let at = 0; at < 40; at += 1) await table.once(`a\n${at}`, run, request);
    expect((await table.once('a\n0', run, request)).body).toMatch(/^41 /);
    await expect(table.once('a\n0', run, { ...request, digest: 'remove' })).rejects.toMatchObject({
      error: 'invalid_request',
    });
    // A repeat of what never arrived is carried out: nothing was dropped that it could be.
    expect((await table.once('a\n99', run, { ...request, repeatAgeMs: 0 })).body).toMatch(/^42 /);
    const small = (): Promise<EffectAnswer> => Promise.resolve(answer(`small ${(asked += 1)}`));
    await table.once('a\nsmall', small, request);
    expect((await table.once('a\nsmall', small, request)).body).toBe('small 43');
  });

  it('forgets results after ten minutes', async () => {
    const clock = new FakeClock();
    const table = new EffectTable(clock);
    let runs = 0;
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer(`run ${(runs += 1)}`));
    await table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: undefined });
    clock.advance(599_000);
    await table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: 0 });
    expect(runs).toBe(1);
    clock.advance(2000);
    await table.once('a\n1', run, { digest: 'd', gone: never, repeatAgeMs: undefined });
    expect(runs).toBe(2);
  });

  it('never does a thing twice because the one who asks slept for longer than results are kept', async () => {
    const table = new EffectTable(new FakeClock());
    let runs = 0;
    const run = (): Promise<EffectAnswer> => Promise.resolve(answer(`run ${(runs += 1)}`));
    const repeat = { digest: 'd', gone: never, repeatAgeMs: 1_800_000 };
    await expect(table.once('a\n1', run, repeat)).rejects.toMatchObject({ error: 'outcome_unknown' });
    expect(runs).toBe(0);
  });

  it('never does a thing twice because a result had to be dropped: the outcome is unknown then', async () => {
    const table = new EffectTable(new FakeClock());
    const big = answer('x'.repeat(9_000_000));
    let runs = 0;
    const run = (): Promise<EffectAnswer> => {
      runs += 1;
      return Promise.resolve(big);
    };
    for (let at = 0; at < 4; at += 1)
      await table.once(`a\n${at}`, run, { digest: 'd', gone: never, repeatAgeMs: undefined });
    await expect(table.once('a\n0', run, { digest: 'd', gone: never, repeatAgeMs: 0 })).rejects.toMatchObject({
      error: 'outcome_unknown',
    });
    expect(runs).toBe(4);
  });
});
