import type { Transfer } from '../protocol/transfers.ts';
import type { Cli } from './cli.ts';
import { isLive, LiveLine, RecentRate } from './live-line.ts';
import { plain, size, spent } from './output.ts';
import {
  arrivedBytes,
  awayNames,
  bytesWords,
  filesWords,
  percentOf,
  reasonWords,
  type Reader,
} from './transfer-words.ts';

/** Where nobody looks at a terminal, a line is written so often. */
const SAY_MS = 10_000;

/** Tells a person how far a transfer is. */
export interface Progress {
  readonly show: (transfer: Transfer) => void;
  /** A remark, on a line of its own. */
  readonly say: (text: string) => void;
  /** Leaves nothing half written on the terminal. */
  readonly stop: () => void;
}

/** A line that is drawn again in its place, plain lines where stderr is no terminal, or nothing. */
export const createProgress = (cli: Cli, reader: Reader): Progress => {
  const { io, out, invocation } = cli;
  // What a dry run names comes line by line.
  if (out.json || invocation.has('quiet') || invocation.has('dry-run')) return silent(cli);
  return isLive(io.stderr, io.env) ? liveProgress(cli, reader) : plainProgress(cli, reader);
};

const silent = ({ out }: Cli): Progress => ({ show: () => undefined, say: out.note, stop: () => undefined });

const liveProgress = ({ io: { stderr, clock }, out }: Cli, reader: Reader): Progress => {
  const rate = new RecentRate();
  let latest: Transfer | undefined;
  const compose = (columns: number): string =>
    latest === undefined ? '' : lineOf(latest, { columns, perSecond: rate.perSecond, reader });
  const line = new LiveLine({ sink: stderr, clock, compose });
  return {
    show: (transfer) => {
      latest = transfer;
      rate.add(clock.monotonicMs(), arrivedBytes(transfer));
      line.changed();
    },
    say: (text) => {
      line.clear();
      out.note(text);
    },
    stop: () => line.clear(),
  };
};

/** What a line is made for. */
interface LineParts {
  readonly columns: number;
  readonly perSecond: number;
  readonly reader: Reader;
}

const lineOf = (transfer: Transfer, { columns, perSecond, reader }: LineParts): string => {
  if (transfer.state === 'waiting') return waitingWords(transfer, reader);
  if (transfer.counting && transfer.files.found === 0) return 'counting…';
  const percent = percentOf(transfer);
  const left = secondsLeft(transfer, perSecond);
  return [
    percent === undefined ? 'counting…' : `${barOf(percent, columns)}${String(percent).padStart(3)}%`,
    filesWords(transfer),
    bytesWords(transfer),
    ...(perSecond > 0 ? [`${size(perSecond)}/s`] : []),
    ...(left === undefined ? [] : [`${left < 10 ? `${left} s` : spent(left * 1000)} left`]),
    ...(transfer.current === undefined ? [] : [plain(transfer.current)]),
  ].join('  ');
};

const barOf = (percent: number, columns: number): string => {
  const width = columns >= 72 ? 20 : columns >= 50 ? 10 : 0;
  if (width === 0) return '';
  const full = Math.floor((percent * width) / 100);
  return `[${'='.repeat(full)}${' '.repeat(width - full)}] `;
};

const secondsLeft = ({ counting, bytes }: Transfer, perSecond: number): number | undefined =>
  counting || perSecond <= 0 || bytes.found <= bytes.done
    ? undefined
    : Math.ceil((bytes.found - bytes.done) / perSecond);

const waitingWords = (transfer: Transfer, reader: Reader): string => {
  const reason = reasonWords(transfer, reader);
  // It is there, and has said so itself.
  if (transfer.error === 'rate_limited') return `waiting: ${reason}`;
  const why = reason === '' ? '' : ` (${reason})`;
  return `waiting for ${awayNames(transfer, reader)} …${why}`;
};

const plainProgress = ({ io: { clock }, out }: Cli, reader: Reader): Progress => {
  const rate = new RecentRate();
  let saidAt = clock.monotonicMs();
  let wasWaiting = false;
  const say = (text: string): void => {
    saidAt = clock.monotonicMs();
    out.note(`loopsy: ${text}`);
  };
  return {
    show: (transfer) => {
      rate.add(clock.monotonicMs(), arrivedBytes(transfer));
      const isWaiting = transfer.state === 'waiting';
      if (isWaiting && !wasWaiting) say(waitingWords(transfer, reader));
      wasWaiting = isWaiting;
      if (isWaiting || clock.monotonicMs() - saidAt < SAY_MS) return;
      say(lineOf({ ...transfer, current: undefined }, { columns: 0, perSecond: rate.perSecond, reader }).trim());
    },
    say: out.note,
    stop: () => undefined,
  };
};
