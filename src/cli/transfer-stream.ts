import { EXIT, LoopsyError } from '../protocol/errors.ts';
import type { Transfer, TransferEvent } from '../protocol/transfers.ts';
import { Absence, goesOn, wasCut } from './absence.ts';
import { type Cli, INTERRUPTED, type StopSignal } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { errorLines, plain, type Paint } from './output.ts';
import { createProgress, type Progress } from './transfer-progress.ts';
import {
  AGAIN,
  errorOf,
  failureGroups,
  missedWords,
  removedWords,
  summaryOf,
  verbOf,
  type Reader,
} from './transfer-words.ts';

/** One event of a stream, as the client gives it. */
interface StreamEvent {
  readonly event: TransferEvent;
}

/** How a transfer is followed. */
export interface Following {
  readonly node: LocalNode;
  readonly first: AsyncIterable<StreamEvent>;
  readonly peer?: string | undefined;
  /** The destination as it was typed. */
  readonly typed?: string | undefined;
  readonly signal: AbortSignal;
}

/** Attempts in a row to take up a stream that was cut, without an event gained. */
const MAX_RESUMES = 2;

/** Shows a transfer until it ends, and then what became of it. @returns this process's exit code. */
export const followTransfer = async (cli: Cli, following: Following): Promise<number> => {
  const reader: Reader = { here: following.node.health.nodeId, typed: following.typed };
  const progress = createProgress(cli, reader);
  try {
    for await (const event of eventsOf(cli, following, progress)) {
      if (cli.out.json) cli.out.document(event);
      else sayItems(cli, event, reader);
      if (event.type !== 'end') progress.show(event.transfer);
      else {
        progress.stop();
        return report(cli, event.transfer, reader);
      }
    }
  } finally {
    progress.stop();
  }
  throw new LoopsyError('outcome_unknown', {
    message: 'the stream ended before the transfer did',
    hint: '`loopsy transfers list --all` shows what became of it',
  });
};

/** What a dry run would do, a line each. */
const sayItems = ({ out, invocation }: Cli, { items = [], transfer }: TransferEvent, reader: Reader): void => {
  if (invocation.has('quiet')) return;
  const send = verbOf(transfer, reader);
  for (const { action, path } of items) {
    const what = action === 'remove' ? removedWords(transfer, path, reader) : plain(path);
    out.print(`${(action === 'send' ? send : action).padEnd(ITEM_COLUMNS)} ${what}`);
  }
};

const ITEM_COLUMNS = 'replace'.length;

/** A stream that was cut is taken up again; that of a transfer which outlives the node, also when the node is back. */
async function* eventsOf(
  cli: Cli,
  { node, first, peer, signal }: Following,
  progress: Progress,
): AsyncGenerator<TransferEvent> {
  const away = new Absence(cli, goesOn('transfer'), progress.say);
  let asked = node;
  let source = first;
  let latest: Transfer | undefined;
  for (let failures = 0; ;) {
    try {
      for await (const { event } of source) {
        latest = event.transfer;
        failures = 0;
        away.over();
        yield event;
      }
      return;
    } catch (thrown) {
      failures += 1;
      const isLost = failures > MAX_RESUMES || !wasCut(thrown);
      if (latest === undefined || signal.aborted) throw thrown;
      if (isLost && !isAway(latest, thrown)) throw endedEarly(latest, thrown);
      if (isLost || latest.detached === true) asked = await away.wait({ signal, why: thrown });
      source = asked.client.events('transfer.follow', { transferId: latest.transferId }, { peer, signal });
    }
  }
}

/** True where the transfer goes on, but cannot be followed at the moment. */
const isAway = ({ detached }: Transfer, thrown: unknown): boolean =>
  detached === true &&
  thrown instanceof LoopsyError &&
  (thrown.retry || wasCut(thrown) || thrown.error === 'node_not_running');

/** Where the node is gone, so is the transfer; nothing of it is lost. */
const endedEarly = ({ detached }: Transfer, thrown: unknown): unknown => {
  const isGone = thrown instanceof LoopsyError && (wasCut(thrown) || thrown.error === 'node_not_running');
  if (!isGone || detached === true) return thrown;
  return new LoopsyError('node_not_running', {
    message: 'the node stopped or crashed in the middle of the transfer',
    hint: `start it with \`loopsy start\`, and ${AGAIN}`,
    cause: thrown,
  });
};

/** What became of it: a summary, what did not arrive, and why it ended where it did not end well. */
const report = ({ out, invocation }: Cli, transfer: Transfer, reader: Reader): number => {
  const error = errorOf(transfer, reader);
  const missed = missedWords(transfer);
  const code = error?.exit ?? (missed === undefined ? EXIT.ok : EXIT.failed);
  if (out.json) return code;
  if (error === undefined && !invocation.has('quiet')) out.print(summaryOf(transfer, reader));
  for (const line of reasonLines(transfer, { paint: out.paint, reader })) out.note(line);
  return code;
};

/** What did not arrive, and why it ended; what one line has said is not said again. */
const reasonLines = (
  transfer: Transfer,
  { paint, reader }: { readonly paint: Paint; readonly reader: Reader },
): string[] => {
  const error = errorOf(transfer, reader);
  const missed = missedWords(transfer);
  const failures = failureGroups(transfer, reader);
  const [errorLine = '', ...hints] = error === undefined ? [] : errorLines(error.toBody(), paint);
  if (failures.length === 0 || missed === undefined) return error === undefined ? [] : [errorLine, ...hints];
  const isSaid = error === undefined || transfer.failures.some(({ message }) => message === transfer.message);
  const known = failures.flatMap(({ lines, hint }) => [
    ...lines,
    ...(hint === undefined ? [] : [`  ${paint.dim(hint)}`]),
  ]);
  return [...known, `${paint.red('loopsy:')} ${missed}`, ...(isSaid ? [] : [errorLine, ...hints])];
};

/** Does something that signals may end, by its signal; `left` is said then. @returns the exit code. */
export const untilInterrupted = async (
  { io, out }: Cli,
  left: string | (() => string),
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> => {
  const controller = new AbortController();
  let code: number | undefined;
  // The keys are the signals.
  const releases = (Object.keys(INTERRUPTED) as StopSignal[]).map((name) =>
    io.onSignal(name, () => {
      code ??= INTERRUPTED[name];
      controller.abort();
    }),
  );
  try {
    return await work(controller.signal);
  } catch (thrown) {
    if (code === undefined) throw thrown;
    out.note(typeof left === 'string' ? left : left());
    return code;
  } finally {
    releases.forEach((release) => release());
    controller.abort();
  }
};
