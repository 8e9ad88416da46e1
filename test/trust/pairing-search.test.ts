import { describe, expect, it } from 'vitest';

import { wordsToSend } from '../../src/trust/pairing-machine.ts';
import type { Role } from '../../src/trust/pairing-crypto.ts';
import type { PairingEffect } from '../../src/trust/pairing-party.ts';
import {
  readPairingRecord,
  writePairingRecord,
  type PairingFacts,
  type PairingRecord,
} from '../../src/trust/pairing-record.ts';
import {
  PairingSearch,
  tooEarly,
  tooProud,
  type PairingDisk,
  type SearchOptions,
  type SearchResult,
} from './pairing-search.ts';
import { kai, maria } from './two-machines.ts';

/** The simplest disk: one record, and whether the other machine is pinned. */
class MemoryDisk implements PairingDisk {
  #record: string | undefined;
  #trusts = false;

  async load(image: string): Promise<void> {
    this.#trusts = image.startsWith('!');
    this.#record = image.slice(1) === '' ? undefined : image.slice(1);
  }

  async image(): Promise<string> {
    return `${this.#trusts ? '!' : '.'}${this.#record ?? ''}`;
  }

  async carryOut(effect: PairingEffect): Promise<void> {
    if ('record' in effect) this.#record = writePairingRecord(effect.record);
    else this.#record = undefined;
    if (effect.kind === 'trust') this.#trusts = true;
    if (effect.kind === 'untrust') this.#trusts = false;
  }

  async record(): Promise<PairingRecord | undefined> {
    return this.#record === undefined ? undefined : readPairingRecord(this.#record, kai.machineId);
  }

  async trusts(): Promise<boolean> {
    return this.#trusts;
  }
}

const factsOf = (role: Role): PairingFacts => ({
  role,
  id: 'ab'.repeat(32),
  attempt: 'AAAAAAAAAAAAAAAAAAAAAA',
  decideKey: Buffer.alloc(32, 3),
  ownId: kai.machineId,
  peer: role === 'host' ? maria : kai,
  startedAt: 1_800_000_000_000,
});

const search = async (what: string, options: Partial<SearchOptions>): Promise<SearchResult> => {
  const result = await new PairingSearch({
    disks: { joiner: new MemoryDisk(), host: new MemoryDisk() },
    facts: { joiner: factsOf('joiner'), host: factsOf('host') },
    maxCrashes: 0,
    maxFaults: 0,
    withLate: false,
    words: wordsToSend,
    ...options,
  }).run();
  const { states, transitions, converging } = result;
  console.log(`${what}: ${states} states, ${transitions} transitions, ${converging} with both yes stored`);
  return result;
};

const LONG = process.env['LOOPSY_LONG'] === '1';

describe('the decision phase, searched exhaustively with lost, late, doubled and reordered messages', () => {
  it('crashes at every arrow, three times: no trust without two yes or after a no, and it always comes to its end', async () => {
    const { states, converging, fault } = await search('three crashes', { maxCrashes: 3 });
    expect(fault).toBeUndefined();
    expect(states).toBeGreaterThan(1000);
    expect(converging).toBeGreaterThan(100);
  });

  it('writes that fail twice, each perhaps done all the same, and a crash', async () => {
    const { fault } = await search('two faults, one crash', { maxCrashes: 1, maxFaults: 2 });
    expect(fault).toBeUndefined();
  });

  it('all of that at once', async ({ skip }) => {
    skip(!LONG, 'takes 10 s: in test:long');
    const { fault } = await search('everything', { maxCrashes: 3, maxFaults: 1, withLate: true });
    expect(fault).toBeUndefined();
  });

  it('time that runs out at any moment, and two crashes', async () => {
    const { fault } = await search('time runs out, two crashes', { maxCrashes: 2, withLate: true });
    expect(fault).toBeUndefined();
  });

  it('finds the fault where a yes is sent before it is stored', async () => {
    const { fault } = await search('a yes sent too early', { maxCrashes: 1, words: tooEarly });
    expect(fault).toMatch(/^trust without two stored yes/);
  });

  it('finds the fault where trust is told before it is stored', async () => {
    const { fault } = await search('trust told too early', { maxCrashes: 0, words: tooProud });
    expect(fault).toMatch(/^"paired" while one does not trust/);
  });
});
