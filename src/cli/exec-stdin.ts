import type { Clock } from '../kernel/clock.ts';
import type { Cli } from './cli.ts';
import { watchStdin, type WatchedStdin } from './stdin.ts';

/** What was piped in, or stands in a file; a terminal is left alone, and so is any with -n. */
export const pipedStdin = ({ invocation, io }: Cli): WatchedStdin => {
  const given = invocation.has('no-stdin') ? ({ kind: 'none' } as const) : io.stdin();
  const isTerminal = given.kind === 'stream' && 'isTTY' in given.stream && given.stream.isTTY === true;
  return watchStdin(isTerminal ? { kind: 'none' } : given);
};

/** @returns false where neither bytes nor the end came in the time. */
export const cameWithin = async ({ seen }: WatchedStdin, ms: number, clock: Clock): Promise<boolean> => {
  let cancel = (): void => undefined;
  const late = new Promise<boolean>((resolve) => {
    const timer = clock.after(ms, () => resolve(false));
    cancel = () => timer.cancel();
  });
  const came = await Promise.race([seen.then(() => true), late]);
  cancel();
  return came;
};
