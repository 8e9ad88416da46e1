import { constants } from 'node:os';

import { decodeJson, type StreamPiece } from '../client/client.ts';
import { ERRORS, EXIT, errorFromBody, LoopsyError } from '../protocol/errors.ts';
import { FRAME } from '../protocol/frames.ts';
import type { JobEvent, JobOutcome, JobStarted } from '../protocol/jobs.ts';
import { Absence, goesOn, wasCut } from './absence.ts';
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
  /** Told how the run ended, where that is known. */
  readonly onEnded?: (outcome: JobOutcome) => void;
  /** Told why the run could not be followed to its end, where the stream says so. */
  readonly onFailed?: (error: LoopsyError) => void;
  /** The cursor that was asked for. */
  readonly since?: number;
}

/** One event of a run's stream, with the cursor behind it. */
interface RunEvent {
  readonly id: string | undefined;
  readonly event: JobEvent;
}

/** Attempts in a row to take up a stream that was cut, without a byte gained. */
const MAX_RESUMES = 2;

/** Prints a run's bytes as they are until it ends. @returns its exit code for this process. */
export const followPieces = async (
  cli: Cli,
  pieces: AsyncIterable<StreamPiece>,
  following: Following,
): Promise<number> => {
  const { io } = cli;
  let started: JobStarted | undefined;
  for await (const { type, bytes } of resuming(cli, { ...PIECES, first: pieces }, following)) {
    if (type === FRAME.stdout) await io.stdout.writeBytes(bytes);
    if (type === FRAME.stderr) await io.stderr.writeBytes(bytes);
    // The node encodes each frame by its schema.
    if (type === FRAME.started) announce(cli, (started = decodeJson(bytes) as JobStarted), following);
    if (type === FRAME.gap && !following.quiet) sayGap(cli, decodeJson(bytes) as { from: number; to: number });
    if (type === FRAME.exit) return endOf(cli, endingOf(started, decodeJson(bytes) as JobOutcome), following);
  }
  throw endless();
};

/** Prints a run's events, one line of JSON each; with `only`, its end alone. @returns its exit code for this process. */
export const followEvents = async (
  cli: Cli,
  events: AsyncIterable<RunEvent>,
  following: Following & { readonly only?: JobEvent['type'] },
): Promise<number> => {
  const { only } = following;
  let started: JobStarted | undefined;
  for await (const { event } of resuming(cli, { ...EVENTS, first: events }, following)) {
    if (cli.out.json && (only === undefined || only === event.type || event.type === 'error')) cli.out.document(event);
    if (event.type === 'started') following.onStarted((started = event.data as JobStarted));
    if (event.type === 'exit') return endOf(cli, endingOf(started, event.data as JobOutcome), following);
    if (event.type === 'error')
      return failedWith(cli, errorFromBody(event.data) ?? new LoopsyError('internal'), following);
  }
  throw endless();
};

/** loopsy's own failures never look like the command's exit code 1. */
const exitOfError = (error: LoopsyError): number => (error.exit === EXIT.failed ? EXIT.usage : error.exit);

const failedWith = ({ out }: Cli, error: LoopsyError, { onFailed }: Following): number => {
  onFailed?.(error);
  if (!out.json) out.note(`loopsy: ${plain(error.message)}`);
  return exitOfError(error);
};

const endless = (): LoopsyError =>
  new LoopsyError('outcome_unknown', { message: 'the stream ended before the run did' });

/** A stream in one of its forms: how it is taken up again, and what its items say. */
interface Form<Item> {
  readonly first: AsyncIterable<Item>;
  readonly reopen: (
    node: LocalNode,
    at: { readonly jobId: string; readonly since: number },
    options: Pick<Following, 'peer' | 'signal'>,
  ) => AsyncIterable<Item>;
  readonly cursorOf: (item: Item) => number;
  readonly startedOf: (item: Item) => JobStarted | undefined;
}

const PIECES: Omit<Form<StreamPiece>, 'first'> = {
  reopen: ({ client }, at, options) => client.stream('job.output', at, options),
  cursorOf: ({ cursor }) => cursor,
  startedOf: ({ type, bytes }) => (type === FRAME.started ? (decodeJson(bytes) as JobStarted) : undefined),
};

const EVENTS: Omit<Form<RunEvent>, 'first'> = {
  reopen: ({ client }, at, options) => client.events('job.output', at, options),
  cursorOf: ({ id }) => Number(id ?? 0),
  startedOf: ({ event }) => (event.type === 'started' ? (event.data as JobStarted) : undefined),
};

/** A stream that was cut goes on behind the last byte that arrived; of a detached run also when its node is back. */
async function* resuming<Item>(cli: Cli, form: Form<Item>, following: Following): AsyncGenerator<Item> {
  const { peer, signal } = following;
  let { node } = following;
  let source = form.first;
  let since = following.since ?? 0;
  let started: JobStarted | undefined;
  const away = new Absence(cli, goesOn('job'), cli.out.note);
  for (let failures = 0; ;) {
    const before = since;
    try {
      for await (const item of source) {
        since = form.cursorOf(item);
        started = form.startedOf(item) ?? started;
        away.over();
        yield item;
      }
      return;
    } catch (thrown) {
      failures = since > before ? 1 : failures + 1;
      const isTried = failures > MAX_RESUMES || !wasCut(thrown);
      if (started === undefined || (isTried && !isAway(started, thrown))) throw thrown;
      if (isTried || started.detached === true) node = await away.wait({ signal, why: thrown });
      source = form.reopen(node, { jobId: started.jobId, since }, { peer, signal });
    }
  }
}

/** True where the run goes on, but cannot be read at the moment. */
const isAway = ({ detached }: JobStarted, thrown: unknown): boolean =>
  detached === true && thrown instanceof LoopsyError && (thrown.retry || wasCut(thrown));

const announce = ({ io, out }: Cli, started: JobStarted, { quiet, onStarted }: Following): void => {
  if (started.state === 'queued' && !quiet && io.stderr.isTTY === true) {
    out.note(`loopsy: waits in the queue of ${plain(started.host)} (job ${plain(started.jobId)})`);
  }
  onStarted(started);
};

const sayGap = ({ out }: Cli, { from, to }: { from: number; to: number }): void =>
  out.note(`loopsy: ${size(to - from)} of older output are no longer kept`);

/** How a run ended; one that is detached has a supervisor in its node's stead. */
type RunEnding = JobOutcome & Pick<JobStarted, 'detached'>;

const endingOf = (started: JobStarted | undefined, outcome: JobOutcome): RunEnding => ({
  ...outcome,
  ...(started?.detached === true ? { detached: true } : {}),
});

/** The run's own exit code; where loopsy ended it, one line that says so. */
const endOf = ({ io, out }: Cli, outcome: RunEnding, { quiet, onEnded }: Following): number => {
  onEnded?.(outcome);
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
  outcome: RunEnding,
): Record<Exclude<JobOutcome['endedBy'], 'exit'>, readonly [LoopsyError, string]> => ({
  timeout: [new LoopsyError('execution_timeout'), `timed out: the run was ended after ${duration(outcome.duration)}`],
  cancel: [new LoopsyError('execution_cancelled'), ERRORS.execution_cancelled.message],
  'client-gone': [new LoopsyError('outcome_unknown'), 'the run was ended because the connection to it was lost'],
  shutdown: [new LoopsyError('node_stopping'), 'the run was ended because its node stopped'],
  lost: [
    new LoopsyError('outcome_unknown'),
    `${outcome.detached === true ? 'its supervisor' : 'the node'} ended before the run did: how it ended is not known`,
  ],
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
