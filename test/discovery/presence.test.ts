import { describe, expect, it } from 'vitest';

import { type Beat, PresenceWatch } from '../../src/discovery/presence.ts';
import { FakeClock } from '../helpers/clock.ts';

const NODE = 'a'.repeat(32);

/** A network whose peer is there or not; a beat to a lost one ends at its limit. */
const world = (): {
  clock: FakeClock;
  watch: PresenceWatch;
  seen: string[];
  /** When neither side had heard from the other for long, ms. */
  silences: number[];
  set: (state: 'up' | 'refused' | 'silent') => void;
  pass: (ms: number) => Promise<void>;
  beats: () => number;
} => {
  const clock = new FakeClock();
  const seen: string[] = [];
  const silences: number[] = [];
  let state: 'up' | 'refused' | 'silent' = 'up';
  let beats = 0;
  const beat = (_: string, limitMs: number): Promise<Beat> => {
    beats += 1;
    if (state === 'up') return Promise.resolve({ ok: true, latencyMs: 1 });
    if (state === 'refused') return Promise.resolve({ ok: false, reason: 'refused' });
    return new Promise((done) => clock.after(limitMs, () => done({ ok: false, reason: 'silent' })));
  };
  const watch = new PresenceWatch({
    clock,
    beat,
    onChange: (_, next) => seen.push(next.presence),
    onSilence: () => silences.push(clock.monotonicMs()),
  });
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 50) {
      clock.advance(50);
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    }
  };
  return { clock, watch, seen, silences, set: (next) => (state = next), pass, beats: () => beats };
};

describe('presence', () => {
  it('is what a beat found that somebody waited for, at once, and is watched from then on', async () => {
    const { watch, seen, set, pass } = world();
    watch.found(NODE, { ok: true, latencyMs: 1 });
    expect(watch.state(NODE)).toEqual({ presence: 'online', latencyMs: 1, reason: undefined });
    set('refused');
    await pass(3000);
    expect(seen).toEqual(['online', 'offline']);
    watch.found(NODE, { ok: true, latencyMs: 1 });
    expect(watch.state(NODE)).toMatchObject({ presence: 'online', reason: undefined });
  });

  it('says online after the first beat', async () => {
    const { watch, seen, pass } = world();
    watch.watch(NODE);
    await pass(50);
    expect(seen).toEqual(['online']);
  });

  it.each([0, 700, 1300, 2450])(
    'says offline within 10 s of a cable that was pulled %i ms after a beat',
    async (ms) => {
      const { watch, set, pass } = world();
      watch.watch(NODE);
      await pass(50 + ms);
      set('silent');
      await pass(9900);
      expect(watch.state(NODE).presence).toBe('offline');
    },
  );

  it('does not say offline for one lost beat', async () => {
    const { watch, set, pass, seen } = world();
    watch.watch(NODE);
    await pass(100);
    set('silent');
    await pass(3000);
    set('up');
    await pass(6000);
    expect(seen).toEqual(['online']);
  });

  it.each([0, 400, 900, 1700, 2400])('says online within 3 s of the return, %i ms into a try', async (ms) => {
    const { watch, set, pass } = world();
    set('silent');
    watch.watch(NODE);
    await pass(30_000 + ms);
    expect(watch.state(NODE).presence).toBe('offline');
    set('up');
    await pass(3000);
    expect(watch.state(NODE).presence).toBe('online');
  });

  it('looks at once when the peer makes contact', async () => {
    const { watch, set, pass } = world();
    set('refused');
    watch.watch(NODE);
    await pass(50);
    set('up');
    watch.heard(NODE);
    await pass(50);
    expect(watch.state(NODE).presence).toBe('online');
  });

  it('tells why a peer is offline, and each new reason', async () => {
    const { watch, set, pass } = world();
    set('refused');
    watch.watch(NODE);
    await pass(100);
    expect(watch.state(NODE).reason).toBe('refused');
    set('silent');
    await pass(4000);
    expect(watch.state(NODE).reason).toBe('silent');
  });

  it('leaves no timer behind when it stops or forgets a peer', async () => {
    const { watch, clock, pass } = world();
    watch.watch(NODE);
    await pass(100);
    watch.forget(NODE);
    expect(clock.waiting).toBe(0);
    watch.watch(NODE);
    await pass(100);
    watch.stop();
    expect(clock.waiting).toBe(0);
  });

  it('beats an online peer at a steady pace, not more often', async () => {
    const { watch, pass, beats } = world();
    watch.watch(NODE);
    await pass(25_000);
    expect(beats()).toBeGreaterThanOrEqual(10);
    expect(beats()).toBeLessThanOrEqual(12);
  });

  it('calls a peer silent 10 s after the last contact of either side, and again at each beat that fails', async () => {
    const { watch, set, pass, silences } = world();
    watch.watch(NODE);
    await pass(50);
    set('silent');
    await pass(9900);
    expect([watch.state(NODE).presence, silences]).toEqual(['offline', []]);
    await pass(10_000);
    expect(silences[0]).toBeLessThan(14_000);
    expect(silences.length).toBeGreaterThan(2);
    set('up');
    await pass(3000);
    const { length } = silences;
    await pass(20_000);
    expect(silences).toHaveLength(length);
  });

  it('never calls a peer silent that makes contact itself, though it can not be reached', async () => {
    const { watch, set, pass, silences } = world();
    set('refused');
    watch.watch(NODE);
    for (let at = 0; at < 20; at += 1) {
      await pass(5000);
      watch.heard(NODE);
    }
    expect([watch.state(NODE).presence, silences]).toEqual(['offline', []]);
    await pass(15_000);
    expect(silences.length).toBeGreaterThan(0);
  });
});
