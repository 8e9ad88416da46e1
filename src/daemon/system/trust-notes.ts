import type { PairingRecord } from '../../trust/pairing-record.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { TrustProblem } from '../../trust/trust-state.ts';

/** Something about trust that a person has to know, and what to do about it. */
export interface TrustNote {
  /** `error`: somebody whom the person meant to trust is not trusted, or may not be after a restart. */
  readonly level: 'warning' | 'error';
  readonly text: string;
  readonly fix: string;
}

const MAX_WARNINGS = 20;

const levelOf = ({ kind }: TrustProblem): TrustNote['level'] =>
  kind === 'ignored-pin' || kind === 'ignored-key' ? 'warning' : 'error';

/** A pairing whose other side is not heard of. */
const waitingNote = ({ stage, peer, wish }: PairingRecord): TrustNote => {
  const name = `${wish.name ?? peer.name} (${peer.machineId.slice(0, 8)})`;
  if (stage === 'pending')
    return {
      level: 'warning',
      text: `waiting for ${name} to say yes: your yes to pairing is kept for a day`,
      fix: 'say yes there, or run `loopsy pair` on both machines again',
    };
  return {
    level: 'warning',
    text: `waiting for ${name}: you both said yes, and it has not answered since`,
    fix: 'start loopsy there; after a day without an answer the trust in it is taken back',
  };
};

/** What is wrong with trust, then what it still waits for. */
export const trustNotes = (book: Pick<TrustBook, 'problems' | 'unmetPins' | 'pairings'>): TrustNote[] => [
  ...book.problems.map((problem) => ({ level: levelOf(problem), text: problem.message, fix: problem.fix })),
  ...book.unmetPins().map(({ name }) => ({
    level: 'warning' as const,
    text: `tls.pinnedCerts.${name} in config.yaml: no machine with this fingerprint was met yet`,
    fix: 'start loopsy there, or say where it is: `loopsy peers add <its address>`',
  })),
  ...book.pairings().map(waitingNote),
];

/** The notes as warnings: so many that they can be read, and where the others are. */
export const warningsOf = (notes: readonly TrustNote[]): string[] => {
  const shown = notes.slice(0, MAX_WARNINGS).map(({ text, fix }) => `${text}; ${fix}`);
  const more = notes.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more about trust: \`loopsy doctor\` shows all`] : shown;
};
