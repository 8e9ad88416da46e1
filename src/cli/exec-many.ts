import type { Client } from '../client/client.ts';
import { pagesOf } from '../client/pages.ts';
import { EXIT, LoopsyError } from '../protocol/errors.ts';
import type { ExecuteInput, JobOutcome, JobStarted } from '../protocol/jobs.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { asError, count, duration, plain, table } from './output.ts';
import { usageError } from './parse.ts';
import { prefixed } from './prefixed.ts';
import { followEvents, followPieces } from './run-stream.ts';
import { peerNamed } from './values.ts';

/** Runs at once; the next ones wait for an end. */
const MAX_AT_ONCE = 64;
/** When nothing came for so long, and most are done, the others are named. */
const WAITS_MS = 3000;

/** A machine that the command is for. */
interface Target {
  readonly name: string;
  /** As operations take it. */
  readonly peer: string | undefined;
  /** Why nothing is tried there: it is not online. */
  readonly absent?: string;
}

/** What became of the command on one machine. */
interface Ending {
  readonly name: string;
  /** Undefined: it did not come to an exit code of its own. */
  readonly exitCode?: number;
  /** Why it has none, in words. */
  readonly reason?: string;
  readonly absent?: true;
  readonly durationMs: number;
}

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
  if (cli.invocation.has('detach')) {
    throw usageError(
      '--detach starts one run, on one peer',
      'start it on each peer: `for p in a b; do loopsy exec --detach $p …; done`',
    );
  }
  const node = await cli.node();
  const targets = await findTargets(cli, node);
  const width = Math.max(...targets.map(({ name }) => name.length));
  const session: Session = { cli, node, input, width, running: new Set(), interrupted: undefined };
  const release = listenForSignals(session);
  try {
    const endings = await runAll(session, targets);
    report(cli, endings);
    if (session.interrupted !== undefined) return session.interrupted;
    return endings.every(({ exitCode, absent }) => exitCode === 0 || absent === true) ? EXIT.ok : EXIT.failed;
  } finally {
    release();
  }
};

/** `--all`: every trusted peer, those that are not online as absent. By name: each once; one that is unknown stops it all. */
const findTargets = async ({ invocation }: Cli, node: LocalNode): Promise<Target[]> => {
  const [words = ''] = invocation.args;
  if (!invocation.has('all')) return namedTargets(words, node);
  if (words !== '') throw usageError('--all means every peer: name none beside it', '`loopsy exec --help` shows how');
  const targets: Target[] = [];
  for await (const { peers } of pagesOf(node.client, 'peer.list', { input: {} })) {
    for (const { name, nodeId, trusted, status, reason } of peers) {
      if (!trusted) continue;
      const absent = status === 'online' ? {} : { absent: reason ?? status };
      targets.push({ name, peer: nodeId ?? name, ...absent });
    }
  }
  if (targets.some(({ absent }) => absent === undefined)) return targets;
  throw new LoopsyError('peer_offline', {
    message:
      targets.length === 0 ? 'no peer is trusted here yet' : `none of ${count(targets.length, 'peer')} is online`,
    hint: '`loopsy peers` shows them',
  });
};

const namedTargets = async (words: string, { client }: LocalNode): Promise<Target[]> => {
  const names = words.split(',').filter((name) => name !== '');
  const found = await Promise.all(names.map((name) => namedTarget(name, client)));
  if (found.length === 0) throw usageError('no peer is named', '`loopsy exec kai,maria <command>` runs it on both');
  return [...new Map(found).values()];
};

/** What a name stands for, and what tells it from others: two names may be one machine's. */
const namedTarget = async (name: string, client: Client): Promise<readonly [key: string, target: Target]> => {
  const peer = peerNamed(name);
  if (peer === undefined) return ['', { name, peer }];
  try {
    const row = await client.call('peer.show', { nodeId: peer });
    return [row.nodeId ?? row.name, { name: row.name, peer: row.nodeId ?? peer }];
  } catch (thrown) {
    if (asError(thrown).error !== 'peer_not_found') throw thrown;
    // This machine's own names are no peer's, and mean it all the same: any other one fails here.
    await client.call('system.identity', {}, { peer });
    return ['', { name, peer: undefined }];
  }
};

const runAll = async (session: Session, targets: readonly Target[]): Promise<Ending[]> => {
  const endings = new Map<Target, Ending>();
  const waiting = [...targets];
  const work = async (): Promise<void> => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      endings.set(target, await runOne(session, target));
    }
  };
  const stop = nameTheLast(session);
  await Promise.all(Array.from({ length: Math.min(MAX_AT_ONCE, targets.length) }, work));
  stop();
  return targets.flatMap((target) => endings.get(target) ?? []);
};

/** Never throws: what goes wrong on one machine is that machine's ending. */
const runOne = async (session: Session, target: Target): Promise<Ending> => {
  const { cli, node, input, width, running } = session;
  const { name, peer, absent } = target;
  if (absent !== undefined) return { name, reason: absent, absent: true, durationMs: 0 };
  if (session.interrupted !== undefined) return { name, reason: 'not begun', durationMs: 0 };
  const controller = new AbortController();
  const { signal } = controller;
  const run: Running = { target, controller, jobId: undefined };
  const begun = cli.io.clock.monotonicMs();
  const view = prefixed(cli, { name, width });
  let ended: JobOutcome | undefined;
  const following = {
    node,
    peer,
    signal,
    quiet: cli.invocation.has('quiet'),
    onStarted: ({ jobId }: JobStarted) => void (run.jobId = jobId),
    onEnded: (outcome: JobOutcome) => void (ended = outcome),
  };
  running.add(run);
  const durationMs = (): number => Math.round(cli.io.clock.monotonicMs() - begun);
  try {
    const exitCode = await (cli.out.json
      ? followEvents(view.cli, node.client.events('job.stream', input, { peer, signal }), following)
      : followPieces(view.cli, node.client.stream('job.stream', input, { peer, signal }), following));
    return { name, ...endingOf(exitCode, ended), durationMs: durationMs() };
  } catch (thrown) {
    const reason = signal.aborted ? 'left: how it ended is not known' : asError(thrown).message;
    return { name, reason, durationMs: durationMs() };
  } finally {
    running.delete(run);
    controller.abort();
    await view.flush();
  }
};

/** Where loopsy ended the run, the code that a single `exec` would have is loopsy's and not the command's. */
const endingOf = (exitCode: number, outcome: JobOutcome | undefined): Pick<Ending, 'exitCode' | 'reason'> => {
  if (outcome === undefined) return { reason: 'how it ended is not known' };
  return outcome.endedBy === 'exit' ? { exitCode } : { reason: REASONS[outcome.endedBy] };
};

const REASONS: Readonly<Record<Exclude<JobOutcome['endedBy'], 'exit'>, string>> = {
  timeout: 'timed out',
  cancel: 'cancelled',
  'client-gone': 'connection lost: ended',
  shutdown: 'its node stopped',
  lost: 'its node ended first',
};

/** A machine that hangs holds nothing up, and is named when the others are done. @returns ends it. */
const nameTheLast = ({ cli, running }: Session): (() => void) => {
  const { clock } = cli.io;
  let named = '';
  const timer = clock.every(WAITS_MS, () => {
    const names = [...running].map(({ target }) => target.name).join(', ');
    if (names === '' || names === named || cli.invocation.has('quiet')) return;
    named = names;
    cli.out.note(`loopsy: waits for ${plain(names)} (Ctrl-C reaches them, twice ends them)`);
  });
  return () => timer.cancel();
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

const report = ({ out, invocation }: Cli, endings: readonly Ending[]): void => {
  if (out.json) return out.document({ type: 'summary', results: endings });
  if (invocation.has('quiet')) return;
  const rows = endings.map((ending) => [
    plain(ending.name),
    resultOf(ending),
    ending.absent === true ? '-' : duration(ending.durationMs),
  ]);
  for (const line of table([['PEER', 'RESULT', 'TIME'], ...rows], out.paint)) out.note(line);
};

const resultOf = ({ exitCode, reason, absent }: Ending): string => {
  if (exitCode !== undefined) return exitCode === 0 ? 'ok' : `exit ${exitCode}`;
  return `${absent === true ? 'absent: ' : ''}${plain(reason ?? 'unknown')}`;
};
