import type { Clock } from '../kernel/clock.ts';
import { Attempts } from './pairing-attempts.ts';
import { newDigits, newInvitation, parseCode } from './pairing-codes.ts';
import { passwordOf } from './pairing-crypto.ts';
import type { Password, RandomBytes, Spake2 } from './spake2.ts';

/** A code that can be entered now, and who tries to. */
export interface OpenCode {
  readonly text: string;
  readonly password: Password;
  readonly attempts: Attempts;
  /** Monotonic. */
  readonly endsAtMs: number;
  guessesLeft: number;
}

const LIFE_MS = 300_000;
const GUESSES = 3;
/** Of nine digits: the same odds, and more than fit into the life of a code, so that it can't be killed. */
const LONG_GUESSES = 3000;

/** What kind of code is opened: a short one, a long one after a kill, or an invitation to this machine. */
export type CodeKind =
  | { readonly kind: 'short' | 'long'; readonly below?: ((limit: number) => number) | undefined }
  | { readonly kind: 'invitation'; readonly machineId: string; readonly random: RandomBytes };

const textOf = (made: CodeKind): string => {
  if (made.kind === 'invitation') return newInvitation(made.machineId, made.random);
  return newDigits(made.kind === 'short' ? 6 : 9, made.below);
};

const GUESSES_OF = { short: GUESSES, long: LONG_GUESSES, invitation: Number.POSITIVE_INFINITY } as const;

/** Opens a new code for five minutes. Two multiplications: 6 ms. */
export const openCode = (made: CodeKind, { spake2, clock }: { spake2: Spake2; clock: Clock }): OpenCode => {
  const text = textOf(made);
  const code = parseCode(text);
  if (code === undefined) throw new TypeError('a code of our own can not be read');
  return {
    text,
    password: passwordOf(spake2, code.secret),
    attempts: new Attempts(clock),
    endsAtMs: clock.monotonicMs() + LIFE_MS,
    guessesLeft: GUESSES_OF[made.kind],
  };
};
