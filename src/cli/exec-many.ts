import { EXIT, type LoopsyError } from '../protocol/errors.ts';
import type { ExecuteInput, JobOutcome, JobStarted } from '../protocol/jobs.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { onEach, type Work } from './exec-each.ts';
import { startOnEach } from './exec-many-detached.ts';
import { cameWithin, pipedStdin } from './exec-stdin.ts';
import { allWell, failureOf, report, type Ending } from './exec-table.ts';
import { findTargets, type Target } from './exec-targets.ts';
import { asError, plain } from './output.ts';
import { usageError } from './parse.ts';
import { prefixed } from './prefixed.ts';
import { followEvents, followPieces } from './run-stream.ts';

/** What is piped in stands there by then; no one who leaves a stdin open without a thought waits noticeably. */
const STDIN_LOOK_MS = 250;

/** A run that goes on, or that shall begin. */
interface Running {
  readonly target: Target;
  /** Leaves it. */
  readonly controller: AbortController;
  jobId: string | undefined;
}

interface Session {
  readonly cli: Cli;
  readonly node: LocalNode;
  readonly input: ExecuteInput;
  readonly width: number;
  readonly running: Set<Running>;
  /** What this process ends with where a signal ended it: nothing more is begun then. */
  interrupted: number | undefined;
}

/**
 * Runs a command on several peers at once: lines with the peer's name before them, as they come, and one table at the
 * end. @returns 0 only where all ended with 0.
 */
export const execMany = async (cli: Cli, input: ExecuteInput): Promise<number> => {
  if (cli.invocation.has('detach')) return startOnEach(cli, input);
  const stdinIsFree = lookAtStdin(cli);
  const node = await cli.node();
  const targets = await findTargets(cli, node);
  await stdinIsFree();
  const width = Math.max(...targets.map(({ name }) => name.length));
  const session: Session = { cli, node, input, width, running: new Set(), interrupted: undefined };
  const release = listenForSignals(session);
  try {
    const endings = await onEach(cli, targets, (target, heard) => runOne(session, target, heard));
    report(cli, endings);
    // A command that caught Ctrl-C and ended well did so, as when it runs alone.
    return allWell(endings) ? EXIT.ok : (session.interrupted ?? EXIT.failed);
  } finally {
    release();
  }
};

/** Begins to look. @returns throws where something stands there; what comes later is said to be dropped. */
const lookAtStdin = (cli: Cli): (() => Promise<void>) => {
  const { io, invocation, out } = cli;
  const stdin = pipedStdin(cli);
  const looking = cameWithin(stdin, STDIN_LOOK_MS, io.clock);
  return async () => {
    if (await looking) {
      if (stdin.empty) return;
      throw usageError('stdin goes to one machine, and something stands there', 'add -n to run without it');
    }
    void stdin.seen.then(() => {
      if (!stdin.empty && !invocation.has('quiet')) out.note('loopsy: what comes on stdin is dropped (-n says so)');
    });
  };
};

/** Never rejects but with what that machine's ending is. */
const runOne = async (session: Session, target: Target, heard: () => void): ReturnType<Work> => {
  const { cli, node, input, width, running } = session;
  const { name, peer } = target;
  if (session.interrupted !== undefined) return { reason: 'not begun' };
  const controller = new AbortController();
  const { signal } = controller;
  const run: Running = { target, controller, jobId: undefined };
  const view = prefixed(cli, { name, width, onOutput: heard });
  let ended: JobOutcome | undefined;
  let failure: LoopsyError | undefined;
  const following = {
    node,
    peer,
    signal,
    quiet: cli.invocation.has('quiet'),
    onStarted: ({ jobId }: JobStarted) => {
      run.jobId = jobId;
      heard();
    },
    onEnded: (outcome: JobOutcome) => void (ended = outcome),
    onFailed: (error: LoopsyError) => void (failure = error),
  };
  running.add(run);
  try {
    const exitCode = await (cli.out.json
      ? followEvents(view.cli, node.client.events('job.stream', input, { peer, signal }), following)
      : followPieces(view.cli, node.client.stream('job.stream', input, { peer, signal }), following));
    return failure === undefined ? endingOf(exitCode, ended) : failureOf(failure);
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    return { reason: `left: ${UNKNOWN}` };
  } finally {
    running.delete(run);
    controller.abort();
    await view.flush();
  }
};

const UNKNOWN = 'how it ended is not known';

/** Where loopsy ended the run, the code that a single `exec` would have is loopsy's and not the command's. */
const endingOf = (exitCode: number, outcome: JobOutcome | undefined): Pick<Ending, 'exitCode' | 'reason'> => {
  if (outcome === undefined) return { reason: UNKNOWN };
  return outcome.endedBy === 'exit' ? { exitCode } : { reason: REASONS[outcome.endedBy] };
};

const REASONS: Readonly<Record<Exclude<JobOutcome['endedBy'], 'exit'>, string>> = {
  timeout: 'timed out',
  cancel: 'cancelled',
  'client-gone': 'connection lost: ended',
  shutdown: 'its node stopped',
  lost: 'its node ended first',
};

/** Ctrl-C goes to the processes on all machines; a second one ends them, a third one this command alone. */
const listenForSignals = (session: Session): (() => void) => {
  const { io } = session.cli;
  const leave = (code: number) => (): void => {
    session.interrupted = code;
    for (const { controller } of session.running) controller.abort();
  };
  let interrupts = 0;
  const releases = [
    io.onSignal('SIGINT', () => {
      interrupts += 1;
      session.interrupted = 130;
      if (interrupts > 2) return leave(130)();
      for (const run of session.running) passOn(session, run, interrupts === 1);
    }),
    io.onSignal('SIGTERM', leave(143)),
    io.onSignal('SIGHUP', leave(129)),
  ];
  return () => releases.forEach((release) => release());
};

const passOn = ({ node, cli }: Session, { target, jobId, controller }: Running, first: boolean): void => {
  // Nothing was heard of it: there is nothing that a signal could be sent to.
  if (jobId === undefined) return controller.abort();
  const { peer, name } = target;
  const asked: Promise<unknown> = first
    ? node.client.call('job.signal', { jobId, signal: 'SIGINT' }, { peer })
    : node.client.call('job.cancel', { jobId }, { peer });
  asked.catch((thrown: unknown) =>
    cli.out.note(`loopsy: Ctrl-C did not reach ${plain(name)}: ${plain(asError(thrown).message)}`),
  );
};
