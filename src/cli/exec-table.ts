import type { LoopsyError } from '../protocol/errors.ts';
import type { Cli } from './cli.ts';
import { duration, plain, table } from './output.ts';

/** What became of the command on one machine. */
export interface Ending {
  readonly name: string;
  /** Undefined: it did not come to an exit code of its own. */
  readonly exitCode?: number;
  /** Of a detached run: it has begun, or waits in the queue there. */
  readonly jobId?: string;
  readonly state?: 'started' | 'queued';
  /** Why it has neither, in words. */
  readonly reason?: string;
  /** What to do about it. */
  readonly hint?: string;
  readonly absent?: true;
  readonly durationMs: number;
}

/** Names in a row that are read; the others are counted. */
const MAX_NAMES = 5;

/** Some names, and how many there are besides. */
export const fewNames = (names: readonly string[]): string => {
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return plain(names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown);
};

/** An error as an ending says it. */
export const failureOf = ({ message, hint }: LoopsyError): Pick<Ending, 'reason' | 'hint'> => ({
  reason: message,
  ...(hint === undefined ? {} : { hint }),
});

/** True where each machine that was there did what it was asked for. */
export const allWell = (endings: readonly Ending[]): boolean =>
  endings.every(({ exitCode, state, absent }) => exitCode === 0 || state !== undefined || absent === true);

/** One table of all, and below it what to do: each hint once, with those it is for. */
export const report = ({ out, invocation }: Cli, endings: readonly Ending[]): void => {
  if (out.json) return out.document({ type: 'summary', results: endings });
  if (invocation.has('quiet')) return;
  const rows = endings.map((ending) => [
    plain(ending.name),
    resultOf(ending),
    ending.absent === true ? '-' : duration(ending.durationMs),
  ]);
  for (const line of table([['PEER', 'RESULT', 'TIME'], ...rows], out.paint)) out.note(line);
  for (const hint of new Set(endings.flatMap((ending) => ending.hint ?? []))) {
    const names = endings.filter((ending) => ending.hint === hint).map(({ name }) => name);
    out.note(`  ${out.paint.dim(`${fewNames(names)}: ${plain(hint)}`)}`);
  }
};

const resultOf = ({ exitCode, state, reason, absent }: Ending): string => {
  if (exitCode !== undefined) return exitCode === 0 ? 'ok' : `exit ${exitCode}`;
  return state ?? `${absent === true ? 'absent: ' : ''}${plain(reason ?? 'unknown')}`;
};
