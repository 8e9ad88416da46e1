import { describe, expect, it } from 'vitest';

import { trustNotes, warningsOf } from '../../../src/daemon/system/trust-notes.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import type { TrustProblem } from '../../../src/trust/trust-state.ts';

const problem = (kind: TrustProblem['kind']): TrustProblem => ({
  kind,
  about: 'kai',
  message: `a ${kind}`,
  fix: 'mend',
});
const KINDS = ['bad-record', 'contradiction', 'ignored-pin', 'ignored-key', 'store'] as const;

describe('notes on trust', () => {
  it('tell what keeps somebody out from what has no effect, and end with the pins that wait', () => {
    const unmet = { name: 'maria', fingerprint: 'a'.repeat(64), grant: grantOfLevel('full') };
    const notes = trustNotes({ problems: KINDS.map(problem), unmetPins: () => [unmet] });
    expect(notes.map(({ level }) => level)).toEqual(['error', 'error', 'warning', 'warning', 'error', 'warning']);
    expect(warningsOf(notes).at(0)).toBe('a bad-record; mend');
    expect(warningsOf(notes).at(-1)).toContain('tls.pinnedCerts.maria in config.yaml');
  });

  it('are twenty warnings at most, and say where the others are', () => {
    const problems = Array.from({ length: 1000 }, () => problem('bad-record'));
    const warnings = warningsOf(trustNotes({ problems, unmetPins: () => [] }));
    expect(warnings).toHaveLength(21);
    expect(warnings.at(-1)).toBe('and 980 more about trust: `loopsy doctor` shows all');
  });
});
