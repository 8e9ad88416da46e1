import type { Clock } from '../../kernel/clock.ts';
import { TIMED_OUT, withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { asError } from '../output.ts';
import type { Bench, Finding, SelftestCheck } from './check.ts';

/** What became of one check. */
export interface CheckResult {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
  readonly hint?: string;
  /** The error's name in the catalogue. */
  readonly error?: string;
  readonly figures?: Readonly<Record<string, number>>;
  readonly durationMs: number;
}

/** Longer than anything that works takes, waiting for a rate limit included. */
const LIMIT_MS = 30_000;

/** Tries one check after the other; without the first one the rest is skipped. Each result is told as it is there. */
export const runChecks = async (
  checks: readonly SelftestCheck[],
  bench: Omit<Bench, 'signal'>,
  tell: (result: CheckResult) => void,
): Promise<CheckResult[]> => {
  const results: CheckResult[] = [];
  let stopped = false;
  for (const check of checks) {
    const result: CheckResult = stopped
      ? { name: check.name, state: 'skipped', detail: 'not tried', durationMs: 0 }
      : await runCheck(check, bench);
    stopped ||= check.first === true && result.state === 'failed';
    results.push(result);
    tell(result);
  }
  return results;
};

const runCheck = async (check: SelftestCheck, bench: Omit<Bench, 'signal'>): Promise<CheckResult> => {
  const { name } = check;
  const begun = bench.clock.monotonicMs();
  const durationMs = (): number => Math.round(bench.clock.monotonicMs() - begun);
  try {
    const finding = await withinTime((signal) => check.run({ ...bench, signal }), bench.clock);
    return { name, state: 'passed', ...finding, durationMs: durationMs() };
  } catch (thrown) {
    const { message, hint, error } = asError(thrown);
    const more = { error, ...(hint === undefined ? {} : { hint }) };
    return { name, state: 'failed', detail: message, ...more, durationMs: durationMs() };
  }
};

const withinTime = async (run: (signal: AbortSignal) => Promise<Finding>, clock: Clock): Promise<Finding> => {
  const controller = new AbortController();
  try {
    const ended = await withTimeLimit(run(controller.signal), LIMIT_MS, clock);
    if (ended !== TIMED_OUT) return ended;
    throw new LoopsyError('request_timeout', { message: `did not end within ${LIMIT_MS / 1000} s` });
  } finally {
    controller.abort();
  }
};
