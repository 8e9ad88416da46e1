import { beforeEach, describe, expect, it } from 'vitest';

import { PairingParty, pollDelayMs, readSettle, type PairingEffect } from '../../src/trust/pairing-party.ts';
import { readPairingRecord, writePairingRecord, type PairingRecord } from '../../src/trust/pairing-record.ts';
import type { FakeClock } from '../helpers/clock.ts';
import { carryOut, errorOf, kai, maria, TwoMachines, wire } from './two-machines.ts';

const DAY_MS = 24 * 3_600_000;

let two: TwoMachines;
let clock: FakeClock;
let host: PairingParty;
let joiner: PairingParty;
beforeEach(async () => {
  two = new TwoMachines();
  ({ host, joiner } = await two.pair());
  clock = two.clock;
});

/** One poll of the joiner, its reply included. */
const poll = (): void => {
  const { attempt, tokens } = readSettle(wire(joiner.request()));
  expect(attempt).toBe(host.facts.attempt);
  host.hear(tokens);
  carryOut(host);
  joiner.takeReply(wire(host.reply()));
  carryOut(joiner);
};
const stages = (): string => `${joiner.stage} ${host.stage}`;
const tokens = (party: PairingParty): number => (party.reply()['tokens'] as string[]).length;
const storedRecord = (party: PairingParty): PairingRecord => {
  const { effect } = party;
  if (effect === undefined || !('record' in effect)) throw new Error('nothing is to be stored');
  const read = readPairingRecord(writePairingRecord(effect.record), party.facts.ownId);
  if (read === undefined) throw new Error('the record can not be read');
  return read;
};

describe('the two parties', () => {
  it('see the same number, and each the other’s proved machine and place', () => {
    expect(host.sas).toMatch(/^[0-9]{6}$/);
    expect(joiner.sas).toBe(host.sas);
    expect(host.facts.id).toBe(joiner.facts.id);
    expect(host.facts.peer).toMatchObject({ machineId: maria.machineId, name: 'maria', port: 19532 });
    expect(joiner.facts.peer).toMatchObject({ machineId: kai.machineId, name: 'kai' });
    expect(host.facts.place).toEqual({ host: '192.0.2.9', port: 19532 });
    expect(joiner.facts.place).toEqual({ host: '192.0.2.1', port: 19532 });
  });

  it.each([
    ['the joiner first', () => [joiner, host]],
    ['the host first', () => [host, joiner]],
  ])('trust when both said yes, and are paired when each knows that: %s', (_who, order) => {
    const [first, second] = order();
    first?.confirm({});
    carryOut(first ?? host);
    poll();
    expect(stages()).toMatch(/pending/);
    second?.confirm({});
    carryOut(second ?? host);
    poll();
    poll();
    expect(stages()).toBe('settled settled');
    expect([host.isOver, joiner.isOver]).toEqual([true, true]);
  });

  it('do everything on disk in its order: the yes is stored before it leaves', () => {
    const seen: PairingEffect[] = [];
    host.confirm({ name: 'laptop', grant: { level: 'observe' }, replaces: kai.machineId });
    expect(host.stage).toBe('compare');
    expect(tokens(host)).toBe(0);
    expect(host.effect?.kind).toBe('store');
    expect(carryOut(host, seen)).toEqual(['store']);
    expect(tokens(host)).toBe(1);
    joiner.takeReply(wire(host.reply()));
    expect(joiner.decision.heard).toEqual(['yes']);
    joiner.confirm({});
    expect(carryOut(joiner, seen)).toEqual(['store', 'trust']);
    expect(tokens(joiner)).toBe(2);
    host.hear(readSettle(wire(joiner.request())).tokens);
    expect(carryOut(host, seen)).toEqual(['trust', 'forget']);
    expect(tokens(host)).toBe(2);
    expect(stages()).toBe('trusted settled');
    poll();
    expect(stages()).toBe('settled settled');
    const [, , , trust] = seen;
    expect(trust).toMatchObject({
      kind: 'trust',
      record: {
        stage: 'trusted',
        wish: { name: 'laptop', grant: { level: 'observe' }, replaces: kai.machineId },
        peer: { machineId: maria.machineId, certificate: maria.certificate },
      },
    });
  });

  it('end where one says no, also after the other’s yes', () => {
    joiner.confirm({});
    carryOut(joiner);
    host.refuse();
    expect(host.stage).toBe('refused');
    poll();
    expect(stages()).toBe('refused refused');
    expect(joiner.effect).toBeUndefined();
    expect(carryOut(joiner)).toEqual([]);
    expect(() => joiner.confirm({})).toThrow('the other side said no');
  });

  it('a no is told at the next poll, before anyone said yes', () => {
    joiner.refuse();
    poll();
    expect(stages()).toBe('refused refused');
  });

  it('says no after yes: it can’t be unsaid', async () => {
    host.confirm({});
    expect(await errorOf(() => host.refuse())).toBe('conflict');
    carryOut(host);
    expect(await errorOf(() => host.refuse())).toBe('conflict');
    expect(await errorOf(() => two.host.cancel())).toBe('conflict');
    expect(host.stage).toBe('pending');
    // Nor does a token of the other side's change what both said.
    joiner.confirm({});
    carryOut(joiner);
    poll();
    poll();
    expect(stages()).toBe('settled settled');
  });

  it('take a yes once: a repeat with another wish changes nothing', () => {
    host.confirm({ name: 'first' });
    host.confirm({ name: 'second' });
    expect(storedRecord(host).wish).toEqual({ name: 'first' });
    carryOut(host);
    host.confirm({ name: 'third' });
    expect(carryOut(host)).toEqual([]);
  });

  it('take no wish that could not be read again', async () => {
    for (const name of ['', 'A', 'a b', '-a'])
      expect(await errorOf(() => host.confirm({ name }))).toBe('invalid_request');
    expect(await errorOf(() => host.confirm({ replaces: 'kai' }))).toBe('invalid_request');
    expect(host.saidYes).toBe(false);
    expect(await errorOf(() => new TwoMachines({ invitation: { name: 'A' } }))).toBe('invalid_request');
  });

  it('take no yes for another number', async () => {
    const other = host.sas === '000000' ? '000001' : '000000';
    expect(await errorOf(() => host.confirm({}, other))).toBe('conflict');
    expect(host.stage).toBe('compare');
    expect(host.saidYes).toBe(false);
    host.confirm({}, `${host.sas?.slice(0, 3)} ${host.sas?.slice(3)}`);
    expect(host.saidYes).toBe(true);
  });

  it('ignore tokens that are none, their own ones, and any number of repeats', () => {
    joiner.confirm({});
    carryOut(joiner);
    const own = readSettle(wire({ attempt: joiner.facts.attempt, tokens: joiner.request()['tokens'] })).tokens;
    expect(joiner.hear(own)).toEqual([]);
    expect(host.hear([Buffer.alloc(32), Buffer.alloc(0), ...own, ...own])).toEqual(['yes', 'yes']);
    expect(host.decision.heard).toEqual(['yes']);
    expect(() => joiner.takeReply({ tokens: ['x'] })).toThrow();
    expect(() => joiner.takeReply({ tokens: [], more: 1 })).toThrow();
    expect(() => readSettle({ attempt: host.facts.attempt, tokens: ['', '', '', ''] })).toThrow();
    expect(stages()).toBe('pending compare');
  });
});

describe('a driver', () => {
  it('knows when to answer a poll at once, and when to hold it', () => {
    expect(host.hasNewsFor([])).toBe(false);
    let changes = 0;
    const stop = host.onChange(() => (changes += 1));
    host.confirm({});
    expect(host.hasNewsFor([])).toBe(false);
    carryOut(host);
    expect(host.hasNewsFor(['yes'])).toBe(true);
    expect(changes).toBe(2);
    stop();
    host.hear(readSettle(wire({ ...joiner.request() })).tokens);
    expect(changes).toBe(2);
    clock.advance(1);
    joiner.confirm({});
    carryOut(joiner);
    poll();
    expect(host.hasNewsFor(['yes', 'trusts'])).toBe(true);
  });

  it('asks each second, a held poll at once, and after failures more and more seldom', () => {
    expect(pollDelayMs({ failures: 0, heldMs: 5 })).toBe(995);
    expect(pollDelayMs({ failures: 0, heldMs: 25_000 })).toBe(0);
    const waits = [1, 2, 3, 4, 5, 100].map((failures) => pollDelayMs({ failures, heldMs: 0 }));
    expect(waits).toEqual([2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  it('finds the disk full when the yes is stored: nothing was said, and it can be said again', () => {
    host.confirm({});
    host.failed();
    expect(host.stage).toBe('compare');
    expect(host.saidYes).toBe(false);
    expect(host.effect).toBeUndefined();
    expect(tokens(host)).toBe(0);
    host.confirm({});
    expect(carryOut(host)).toEqual(['store']);
    expect(host.stage).toBe('pending');
  });

  it('finds the disk full, then a no: what may have been written is deleted before the no holds', () => {
    host.confirm({});
    host.failed();
    host.refuse();
    expect(host.stage).toBe('compare');
    expect(tokens(host)).toBe(0);
    expect(carryOut(host)).toEqual(['forget']);
    expect(host.stage).toBe('refused');
    expect(tokens(host)).toBe(1);
  });

  it('tries again what failed later', () => {
    host.confirm({});
    joiner.confirm({});
    carryOut(host);
    carryOut(joiner);
    host.hear(readSettle(wire(joiner.request())).tokens);
    expect(host.effect?.kind).toBe('trust');
    host.failed();
    expect(host.effect).toBeUndefined();
    expect(host.stage).toBe('pending');
    host.retry();
    expect(carryOut(host)).toEqual(['trust']);
    expect(host.stage).toBe('trusted');
  });
});

describe('a restart', () => {
  const restart = (party: PairingParty): PairingParty => {
    const record = readPairingRecord(writePairingRecord(storedRecord(party)), party.facts.ownId);
    if (record === undefined) throw new Error('no record');
    return PairingParty.resume(record, clock);
  };

  it('goes on from each record, with the same tokens', () => {
    host.confirm({ name: 'laptop' });
    const resumed = restart(host);
    carryOut(host);
    expect(resumed.stage).toBe('pending');
    expect(resumed.saidYes).toBe(true);
    expect(resumed.reply()).toEqual(host.reply());
    joiner.confirm({});
    carryOut(joiner);
    resumed.hear(readSettle(wire(joiner.request())).tokens);
    const trusted = restart(resumed);
    expect(resumed.effect?.kind).toBe('trust');
    expect(trusted.stage).toBe('trusted');
    expect(trusted.facts).toEqual(resumed.facts);
    trusted.contact();
    expect(carryOut(trusted)).toEqual(['forget']);
    expect(trusted.stage).toBe('settled');
  });

  it('reads no record that is cut, changed, of another release, or of another identity of this machine', () => {
    host.confirm({});
    const text = writePairingRecord(storedRecord(host));
    const fields = JSON.parse(text) as Record<string, unknown>;
    expect(readPairingRecord(text, kai.machineId)).toBeDefined();
    const changed = [
      { v: 2 },
      { stage: 'settled' },
      { role: 'owner' },
      { id: 'x' },
      { decideKey: 'AAAA' },
      { peer: null },
      { wish: { name: 'A B', grant: null, replaces: null } },
      { startedAt: -1 },
      { more: 1 },
    ];
    const read = (record: string): unknown => readPairingRecord(record, kai.machineId);
    for (const change of changed) expect(read(JSON.stringify({ ...fields, ...change }))).toBeUndefined();
    for (const bad of ['', '{', text.slice(0, -1), 'null', '[]']) expect(read(bad)).toBeUndefined();
    // The machine has another key now: nobody said yes to that one.
    expect(readPairingRecord(text, maria.machineId)).toBeUndefined();
  });

  it('a contact settles what is trusted, and nothing else', () => {
    joiner.contact();
    expect(joiner.stage).toBe('compare');
    joiner.confirm({});
    carryOut(joiner);
    joiner.contact();
    expect(carryOut(joiner)).toEqual([]);
    expect(joiner.stage).toBe('pending');
  });
});

describe('time', () => {
  it('people have 300 s', async () => {
    clock.advance(299_999);
    expect(host.remainingMs).toBe(1);
    clock.advance(1);
    host.tick();
    expect(host.stage).toBe('expired');
    expect(await errorOf(() => joiner.confirm({}))).toBe('pair_expired');
    expect(carryOut(joiner)).toEqual([]);
  });

  it('a yes counts for 24 h after the number was shown', () => {
    host.confirm({});
    carryOut(host);
    clock.advance(DAY_MS - 1);
    host.tick();
    expect(host.stage).toBe('pending');
    clock.advance(1);
    host.tick();
    expect(carryOut(host)).toEqual(['forget']);
    expect(host.stage).toBe('expired');
    expect(tokens(host)).toBe(0);
  });

  it('a trust that nobody confirms is taken back after 24 h, in one transaction', () => {
    host.confirm({});
    joiner.confirm({});
    carryOut(host);
    carryOut(joiner);
    // The joiner's yes arrives; then its lid is closed.
    host.hear(readSettle(wire(joiner.request())).tokens);
    carryOut(host);
    expect(stages()).toBe('pending trusted');
    clock.advance(DAY_MS);
    host.tick();
    expect(host.effect).toEqual({ kind: 'untrust', id: host.facts.id, machineId: maria.machineId });
    expect(tokens(host)).toBe(0);
    host.done();
    expect(host.stage).toBe('expired');
  });

  it('re-pairs with the same key: taking the pairing back leaves the trust that was there before', () => {
    host.confirm({});
    joiner.confirm({});
    carryOut(host);
    joiner.done();
    host.hear(readSettle(wire(joiner.request())).tokens);
    expect(host.effect?.kind).toBe('trust');
    host.done({ hadTrust: true });
    clock.advance(DAY_MS);
    host.tick();
    expect(host.effect?.kind).toBe('forget');
  });

  it('clock jumps a day between yes and yes: the pairing ends, and nothing is trusted', () => {
    host.confirm({});
    carryOut(host);
    clock.jump(DAY_MS);
    joiner.confirm({});
    carryOut(joiner);
    joiner.tick();
    expect(carryOut(joiner)).toEqual(['forget']);
    poll();
    expect(stages()).toBe('expired expired');
  });

  it('a clock set back before its start ends it too; the 300 s of people don’t heed the wall clock', () => {
    clock.jump(-DAY_MS);
    host.tick();
    expect(host.stage).toBe('compare');
    host.confirm({});
    carryOut(host);
    host.tick();
    expect(carryOut(host)).toEqual(['forget']);
    expect(host.stage).toBe('expired');
  });

  it('an invitation is the host’s yes, with the host’s wish', async () => {
    two = new TwoMachines({ invitation: { grant: { level: 'collaborate' } } });
    ({ host, joiner } = await two.pair());
    expect(storedRecord(host).wish).toEqual({ grant: { level: 'collaborate' } });
    carryOut(host);
    joiner.confirm({});
    carryOut(joiner);
    poll();
    poll();
    expect(stages()).toBe('settled settled');
  });
});
