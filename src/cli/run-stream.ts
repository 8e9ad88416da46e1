import { constants } from 'node:os';

import { decodeJson, type StreamPiece } from '../client/client.ts';
import { ERRORS, EXIT, errorFromBody, LoopsyError } from '../protocol/errors.ts';
import { FRAME } from '../protocol/frames.ts';
import type { JobEvent, JobOutcome, JobStarted } from '../protocol/jobs.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { duration, plain, size } from './output.ts';

/** How a run is followed. */
export interface Following {
  readonly node: LocalNode;
  readonly peer: string | undefined;
  readonly signal: AbortSignal;
  readonly quiet: boolean;
  readonly onStarted: (started: JobStarted) => void;
}

/** Attempts in a row to take up a stream that was cut, without a byte gained. */
const MAX_RESUMES = 2;

/** Prints a run's bytes as they are until it ends. @returns its exit code for this process. */
export const followPieces = async (
  cli: Cli,
  pieces: AsyncIterable<StreamPiece>,
  following: Following & { readonly since?: number },
): Promise<number> => {
  const { io } = cli;
  for await (const { type, bytes } of resuming(pieces, following)) {
    if (type === FRAME.stdout) await io.stdout.writeBytes(bytes);
    if (type === FRAME.stderr) await io.stderr.writeBytes(bytes);
    // The node encodes each frame by its schema.
    if (type === FRAME.started) announce(cli, decodeJson(bytes) as JobStarted, following);
    if (type === FRAME.gap && !following.quiet) sayGap(cli, decodeJson(bytes) as { from: number; to: number });
    if (type === FRAME.exit) return endOf(cli, decodeJson(bytes) as JobOutcome, following);
  }
  throw endless();
};

/** Prints a run's events, one line of JSON each. @returns its exit code for this process. */
export const followEvents = async (
  cli: Cli,
  events: AsyncIterable<{ readonly event: JobEvent }>,
  following: Following,
): Promise<number> => {
  for await (const { event } of events) {
    cli.out.document(event);
    if (event.type === 'started') following.onStarted(event.data as JobStarted);
    if (event.type === 'exit') return endOf(cli, event.data as JobOutcome, following);
    if (event.type === 'error') return exitOfError(errorFromBody(event.data) ?? new LoopsyError('internal'));
  }
  throw endless();
};

/** loopsy's own failures never look like the command's exit code 1. */
const exitOfError = (error: LoopsyError): number => (error.exit === EXIT.failed ? EXIT.usage : error.exit);

const endless = (): LoopsyError =>
  new LoopsyError('outcome_unknown', { message: 'the stream ended before the run did' });

/** A stream that was cut goes on behind the last byte that arrived. */
async function* resuming(
  pieces: AsyncIterable<StreamPiece>,
  following: Following & { readonly since?: number },
): AsyncGenerator<StreamPiece> {
  const { node, peer, signal } = following;
  let source = pieces;
  let cursor = following.since ?? 0;
  let jobId: string | undefined;
  for (let failures = 0; ;) {
    const before = cursor;
    try {
      for await (const piece of source) {
        cursor = piece.cursor;
        if (piece.type === FRAME.started) jobId = (decodeJson(piece.bytes) as JobStarted).jobId;
        yield piece;
      }
      return;
    } catch (thrown) {
      failures = cursor > before ? 1 : failures + 1;
      if (jobId === undefined || failures > MAX_RESUMES || !wasCut(thrown)) throw thrown;
      source = node.client.stream('job.output', { jobId, since: cursor }, { peer, signal });
    }
  }
}

/** True where a connection broke, and not where a node answered with an error. */
const wasCut = (thrown: unknown): boolean =>
  thrown instanceof LoopsyError &&
  thrown.cause !== undefined &&
  (thrown.error === 'outcome_unknown' || thrown.error === 'node_not_running');

const announce = ({ io, out }: Cli, started: JobStarted, { quiet, onStarted }: Following): void => {
  if (started.state === 'queued' && !quiet && io.stderr.isTTY === true) {
    out.note(`loopsy: waits in the queue of ${plain(started.host)} (job ${plain(started.jobId)})`);
  }
  onStarted(started);
};

const sayGap = ({ out }: Cli, { from, to }: { from: number; to: number }): void =>
  out.note(`loopsy: ${size(to - from)} of older output are no longer kept`);

/** The run's own exit code; where loopsy ended it, one line that says so. */
const endOf = ({ io, out }: Cli, outcome: JobOutcome, { quiet }: Following): number => {
  const say = (text: string): void => out.note(`loopsy: ${text} (${plain(outcome.host)}, job ${outcome.jobId})`);
  if (outcome.endedBy === 'exit') {
    if (outcome.outputCut === true && !quiet) say(CUT);
    return exitCodeOf(outcome, io.platform);
  }
  const [error, text] = endings(outcome)[outcome.endedBy];
  say(text);
  return exitOfError(error);
};

const CUT = 'processes that the command left behind still held its output, which was cut';

const endings = (
  outcome: JobOutcome,
): Record<Exclude<JobOutcome['endedBy'], 'exit'>, readonly [LoopsyError, string]> => ({
  timeout: [new LoopsyError('execution_timeout'), `timed out: the run was ended after ${duration(outcome.duration)}`],
  cancel: [new LoopsyError('execution_cancelled'), ERRORS.execution_cancelled.message],
  'client-gone': [new LoopsyError('outcome_unknown'), 'the run was ended because the connection to it was lost'],
  shutdown: [new LoopsyError('node_stopping'), 'the run was ended because its node stopped'],
  lost: [new LoopsyError('outcome_unknown'), 'the node ended before the run did: how it ended is not known'],
});

/** What this process ends with: the run's exit code, or 128+n for its signal. */
export const exitCodeOf = (
  { exitCode, signal }: Pick<JobOutcome, 'exitCode' | 'signal'>,
  platform: NodeJS.Platform,
): number => {
  if (exitCode === null) return 128 + signalNumber(signal);
  // Windows has 32 bits here; elsewhere the low eight are kept, and a failure must not become 0.
  if (platform === 'win32' || (exitCode >= 0 && exitCode <= 255)) return exitCode;
  return (exitCode & 255) === 0 ? EXIT.failed : exitCode & 255;
};

const signalNumber = (name: string | undefined): number => {
  const known: Readonly<Record<string, number | undefined>> = constants.signals;
  return known[name ?? ''] ?? constants.signals.SIGKILL;
};
