import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Role } from '../../src/trust/pairing-crypto.ts';
import { wordsToSend } from '../../src/trust/pairing-machine.ts';
import type { PairingFacts } from '../../src/trust/pairing-record.ts';
import { BookDisk } from './book-disk.ts';
import { PairingSearch, tooEarly, type SearchOptions, type SearchResult } from './pairing-search.ts';
import { kai, maria } from './two-machines.ts';
import { verifies } from '../requirements.ts';

const factsOf = (role: Role): PairingFacts => ({
  role,
  id: 'ab'.repeat(32),
  attempt: 'AAAAAAAAAAAAAAAAAAAAAA',
  decideKey: Buffer.alloc(32, 3),
  ownId: role === 'host' ? kai.machineId : maria.machineId,
  peer: role === 'host' ? maria : kai,
  startedAt: 1_800_000_000_000,
});

describe('the decision phase, searched exhaustively over the real store', () => {
  let disks: Readonly<Record<Role, BookDisk>>;

  beforeAll(async () => {
    disks = {
      joiner: await BookDisk.create(maria, kai.machineId),
      host: await BookDisk.create(kai, maria.machineId),
    };
  });

  afterAll(async () => {
    await disks.joiner.remove();
    await disks.host.remove();
  });

  const search = async (what: string, options: Partial<SearchOptions>): Promise<SearchResult> => {
    const result = await new PairingSearch({
      disks,
      facts: { joiner: factsOf('joiner'), host: factsOf('host') },
      maxCrashes: 0,
      maxFaults: 0,
      withLate: false,
      words: wordsToSend,
      ...options,
    }).run();
    const { states, transitions, converging } = result;
    const writes = disks.joiner.writes + disks.host.writes;
    console.log(
      `${what}, real store: ${states} states, ${transitions} transitions, ${converging} with both yes stored, ${writes} transactions`,
    );
    return result;
  };

  it(
    verifies(
      'pair.two-yes',
      'crashes at every arrow, three times: no trust without two yes, none after a no, and both always come to an end',
    ),
    async () => {
      const { states, converging, fault } = await search('three crashes', { maxCrashes: 3 });
      expect(fault).toBeUndefined();
      expect(states).toBeGreaterThan(1000);
      expect(converging).toBeGreaterThan(100);
    },
  );

  it('writes that fail, each perhaps done all the same, while time runs out', async () => {
    const { fault } = await search('a fault, a crash, late', { maxCrashes: 1, maxFaults: 1, withLate: true });
    expect(fault).toBeUndefined();
  });

  it('finds the fault where a yes is sent before it is stored', async () => {
    const { fault } = await search('a yes sent too early', { maxCrashes: 1, words: tooEarly });
    expect(fault).toMatch(/^trust without two stored yes/);
  });
});
