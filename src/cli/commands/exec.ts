import type { ExecuteInput, JobStarted } from '../../protocol/jobs.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import type { Invocation } from '../parse.ts';
import { followEvents, followPieces, type Following } from '../run-stream.ts';
import { watchStdin, type WatchedStdin } from '../stdin.ts';
import { parseEnv, parseSpan, peerNamed } from '../values.ts';
import { startDetached } from './exec-detached.ts';

/** The node closes a stdin for which nothing came in 30 s: one that is slow is opened before. */
const OPEN_STDIN_MS = 10_000;

/** One run that this command has started. */
interface Session {
  readonly cli: Cli;
  readonly node: LocalNode;
  readonly peer: string | undefined;
  readonly controller: AbortController;
  jobId: string | undefined;
  /** What this process ends with where a signal ended it. */
  interrupted: number | undefined;
}

const exec: Command = async (cli) => {
  const { invocation } = cli;
  if (invocation.has('all') || invocation.args[0]?.includes(',') === true) {
    const { execMany } = await import('./rest.ts');
    return execMany(cli, inputOf(invocation));
  }
  return invocation.has('detach') ? startDetached(cli, inputOf(invocation)) : run(cli);
};

const run: Command = async (cli) => {
  const { invocation, io, out } = cli;
  const input = inputOf(invocation);
  const stdin = watchStdin(invocation.has('no-stdin') ? { kind: 'none' } : io.stdin());
  const node = await cli.node();
  const quiet = invocation.has('quiet');
  const session: Session = {
    cli,
    node,
    peer: peerNamed(invocation.args[0]),
    controller: new AbortController(),
    jobId: undefined,
    interrupted: undefined,
  };
  const release = listenForSignals(session);
  const { peer } = session;
  const { signal } = session.controller;
  const onStarted = ({ jobId }: JobStarted): void => {
    // A stream that is taken up again begins with the same run once more.
    if (session.jobId === undefined) void forwardStdin(session, jobId, stdin);
    session.jobId = jobId;
  };
  const following: Following = { node, peer, signal, quiet, onStarted };
  const request = stdin.empty ? input : { ...input, stdinStream: true };
  try {
    return out.json
      ? await followEvents(cli, node.client.events('job.stream', request, { peer, signal }), following)
      : await followPieces(cli, node.client.stream('job.stream', request, { peer, signal }), following);
  } catch (thrown) {
    if (session.interrupted !== undefined) return session.interrupted;
    throw thrown;
  } finally {
    release();
    session.controller.abort();
  }
};

const inputOf = (invocation: Invocation): ExecuteInput => {
  const [, ...words] = invocation.args;
  const [command = '', ...args] = words;
  const cwd = invocation.value('cwd');
  const timeout = invocation.value('timeout');
  const pairs = invocation.values('env');
  return {
    ...(invocation.has('shell') ? { command: words.join(' '), shell: true } : { command, args }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(pairs.length === 0 ? {} : { env: parseEnv(pairs) }),
    ...(timeout === undefined ? {} : { timeout: parseSpan(timeout, 'timeout', 'ms') }),
  };
};

/** Sends stdin through a connection of its own, from its first bytes on. */
const forwardStdin = async (
  { cli, node, peer, controller }: Session,
  jobId: string,
  stdin: WatchedStdin,
): Promise<void> => {
  if (stdin.empty) return;
  const { signal } = controller;
  await Promise.race([stdin.seen, new Promise<void>((resolve) => cli.io.clock.after(OPEN_STDIN_MS, resolve))]);
  if (signal.aborted) return;
  try {
    await node.client.upload('job.stdin', { jobId }, { peer, signal, body: stdin.bytes() });
  } catch (thrown) {
    // A command that ends, or closes its stdin, before it has read everything is nothing unusual.
    const usual = ['conflict', 'job_not_found', 'outcome_unknown', 'node_not_running'];
    if (signal.aborted || (thrown instanceof LoopsyError && usual.includes(thrown.error))) return;
    cli.out.note(`loopsy: stdin was not forwarded: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
};

/** Ctrl-C goes to the remote processes; a second one ends them, a third one this command alone. */
const listenForSignals = (session: Session): (() => void) => {
  const { io } = session.cli;
  const leave = (code: number) => (): void => {
    session.interrupted = code;
    session.controller.abort();
  };
  let interrupts = 0;
  const releases = [
    io.onSignal('SIGINT', () => {
      interrupts += 1;
      if (session.jobId === undefined || interrupts > 2) return leave(130)();
      return passOn(session, session.jobId, interrupts === 1);
    }),
    io.onSignal('SIGTERM', leave(143)),
    io.onSignal('SIGHUP', leave(129)),
  ];
  return () => releases.forEach((release) => release());
};

const passOn = ({ cli, node, peer }: Session, jobId: string, first: boolean): void => {
  const asked: Promise<unknown> = first
    ? node.client.call('job.signal', { jobId, signal: 'SIGINT' }, { peer })
    : node.client.call('job.cancel', { jobId }, { peer });
  asked.catch((thrown: unknown) => {
    cli.out.note(`loopsy: Ctrl-C did not reach the run: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  });
};

export const commands: Commands = { exec };
