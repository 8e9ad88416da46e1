import type { Client } from '../../client/client.ts';
import type { Place } from '../../config/paths.ts';
import type { Clock } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';

/** What a check works with. */
export interface Bench {
  readonly client: Client;
  /** Undefined: this machine's own node. */
  readonly peer: string | undefined;
  /** The system of the node that is tested. */
  readonly platform: string;
  /** This machine. */
  readonly local: Pick<Place, 'home' | 'platform'>;
  readonly clock: Clock;
  /** Ends when the check has used up its time. */
  readonly signal: AbortSignal;
  /** True where the node asked this command to wait since this was asked last: what was measured then counts for nothing. */
  readonly hadToWait: () => boolean;
}

/** What a check found. */
export interface Finding {
  /** For people, in a few words. */
  readonly detail: string;
  /** For programs; the unit is part of the name. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** One line of the self-test. A feature brings its own, and adds them to the list in `checks.ts`. */
export interface SelftestCheck {
  readonly name: string;
  /** Without it no other check makes sense. */
  readonly first?: true;
  /** @throws what is wrong. */
  readonly run: (bench: Bench) => Promise<Finding>;
}

/** Something worked, but not as it should. */
export const mismatch = (message: string): LoopsyError =>
  new LoopsyError('internal', {
    message,
    hint: '`loopsy doctor` and `loopsy logs --node`, on both sides, may say why',
  });

/** The middle one. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** A duration that is short: `3.2 ms`, `140 ms`. */
export const shortTime = (ms: number): string => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
