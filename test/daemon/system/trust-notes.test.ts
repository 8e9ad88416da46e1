import { describe, expect, it } from 'vitest';

import { trustNotes, warningsOf } from '../../../src/daemon/system/trust-notes.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import type { PairingRecord, Wish } from '../../../src/trust/pairing-record.ts';
import type { TrustProblem } from '../../../src/trust/trust-state.ts';

const problem = (kind: TrustProblem['kind']): TrustProblem => ({
  kind,
  about: 'kai',
  message: `a ${kind}`,
  fix: 'mend',
});
const KINDS = ['bad-record', 'contradiction', 'ignored-pin', 'ignored-key', 'store'] as const;

const pairing = (stage: PairingRecord['stage'], name: string, wish: Wish = {}): PairingRecord => ({
  role: 'host',
  id: 'a'.repeat(64),
  attempt: 'b'.repeat(22),
  decideKey: Buffer.alloc(32),
  ownId: 'o'.repeat(32),
  peer: {
    name,
    machineId: (name[0] ?? '').repeat(32),
    certificate: Buffer.alloc(1),
    port: 19532,
    version: '2.0.0',
    features: [],
  },
  startedAt: 0,
  stage,
  wish,
  hadTrust: false,
});

describe('notes on trust', () => {
  it('tell what keeps somebody out from what has no effect, and end with the pins that wait', () => {
    const unmet = { name: 'maria', fingerprint: 'a'.repeat(64), grant: grantOfLevel('full') };
    const notes = trustNotes({ problems: KINDS.map(problem), unmetPins: () => [unmet], pairings: () => [] });
    expect(notes.map(({ level }) => level)).toEqual(['error', 'error', 'warning', 'warning', 'error', 'warning']);
    expect(warningsOf(notes).at(0)).toBe('a bad-record; mend');
    expect(warningsOf(notes).at(-1)).toContain('tls.pinnedCerts.maria in config.yaml');
  });

  it('name the pairings that wait for the other side, and for how long', () => {
    const [kai, maria] = [pairing('pending', 'kai'), pairing('trusted', 'maria', { name: 'desk' })];
    const notes = trustNotes({ problems: [], unmetPins: () => [], pairings: () => [kai, maria] });
    expect(notes).toEqual([
      {
        level: 'warning',
        text: 'waiting for kai (kkkkkkkk) to say yes: your yes to pairing is kept for a day',
        fix: 'say yes there, or run `loopsy pair` on both machines again',
      },
      {
        level: 'warning',
        text: 'waiting for desk (mmmmmmmm): you both said yes, and it has not answered since',
        fix: 'start loopsy there; after a day without an answer the trust in it is taken back',
      },
    ]);
  });

  it('are twenty warnings at most, and say where the others are', () => {
    const problems = Array.from({ length: 1000 }, () => problem('bad-record'));
    const warnings = warningsOf(trustNotes({ problems, unmetPins: () => [], pairings: () => [] }));
    expect(warnings).toHaveLength(21);
    expect(warnings.at(-1)).toBe('and 980 more about trust: `loopsy doctor` shows all');
  });
});
