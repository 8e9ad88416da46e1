import { ERRORS, errorFromBody, LoopsyError, type ErrorRow } from '../protocol/errors.ts';
import type { Transfer, TransferEnd, TransferFailure } from '../protocol/transfers.ts';
import { count, plain, size, spent } from './output.ts';

/** A node as a transfer names it. */
type End = Transfer['from'];

/** How people read a transfer: `here` is this machine's nodeId. */
export interface Reader {
  readonly here: string;
  /** The destination as the reader has typed it, where that is a path of this machine. */
  readonly typed?: string | undefined;
}

/** A node by its name here. */
export const endName = ({ nodeId, name }: End, { here }: Reader): string =>
  nodeId === here ? 'this machine' : plain(name);

/** A path, with the name of its machine where that is another one. */
export const placeWords = (end: End, path: string, { here }: Reader): string =>
  end.nodeId === here ? plain(path) : `${plain(end.name)}:${plain(path)}`;

/** Behind a message: the machine that it is about. */
const onName = (name: string): string => ` (on ${name})`;

/** The same of a transfer's ends. Where both are one, nobody asks. */
const onWords = ({ from, to }: Pick<Transfer, 'from' | 'to'>, at: TransferEnd | undefined, reader: Reader): string =>
  at === undefined || from.nodeId === to.nodeId ? '' : onName(endName(at === 'source' ? from : to, reader));

/** To list what is there helps only where that is a peer (undefined: this machine), and nothing better is known. */
const listHint = (error: string, hint: string | undefined, peer: string | undefined): string | undefined => {
  if (error !== 'file_not_found' || (hint !== undefined && hint !== ERRORS[error].hint)) return hint;
  return peer === undefined ? undefined : `\`loopsy ls ${peer} <path>\` shows what is there`;
};

/** The peer that an end is. */
const peerAt = ({ from, to }: Transfer, at: TransferEnd | undefined, { here }: Reader): string | undefined => {
  const { nodeId, name } = at === 'source' ? from : to;
  return at === undefined || nodeId === here ? undefined : plain(name);
};

/** What a machine says of its files; what became of the way to it names it already. */
const isOfFiles = ({ code }: LoopsyError): boolean => code >= 4000 && code < 5000;

/** Throws it on, with the name of the peer that has said it (undefined: this machine was asked), and advice to list it. */
export const saidBy =
  (peer: string | undefined, instead?: string) =>
  (thrown: unknown): never => {
    if (!(thrown instanceof LoopsyError) || !isOfFiles(thrown)) throw thrown;
    const { error, message, details } = thrown;
    const listed = listHint(error, thrown.hint, peer === undefined ? undefined : plain(peer));
    throw new LoopsyError(error, {
      message: peer === undefined ? message : `${message}${onName(plain(peer))}`,
      hint: (error === 'file_not_found' ? instead : undefined) ?? listed ?? '',
      ...(details === undefined ? {} : { details }),
      cause: thrown,
    });
  };

/** Why it ended, or waits, where it says so. */
export const reasonWords = (moved: Pick<Transfer, 'from' | 'to' | 'message' | 'at'>, reader: Reader): string =>
  moved.message === undefined ? '' : `${plain(moved.message)}${onWords(moved, moved.at, reader)}`;

/** The machines that a transfer may wait for. */
export const awayNames = ({ from, to }: Transfer, { here }: Reader): string => {
  const others = [from, to].filter(({ nodeId }) => nodeId !== here).map(({ name }) => plain(name));
  return [...new Set(others)].join(' or ') || 'this machine';
};

/** How much is done, from 0 to 100; unknown while the source is still being counted, and where others count it. */
export const percentOf = ({ role, counting, bytes, files }: Transfer): number | undefined => {
  if (counting || role !== 'mover') return undefined;
  const over = files.done + files.skipped + files.failed;
  const [done, found] = bytes.found > 0 ? [bytes.done, bytes.found] : [over, files.found];
  return found === 0 ? 0 : Math.min(100, Math.floor((done * 100) / found));
};

/** Files that are dealt with, of all: `12/30 files`. */
export const filesWords = ({ role, counting, files }: Transfer): string => {
  if (role !== 'mover') return count(files.done, 'file');
  const over = files.done + files.skipped + files.failed;
  const found = Math.max(over, files.found);
  return `${over}/${found}${counting ? '+' : ''} ${found === 1 ? 'file' : 'files'}`;
};

/** Bytes that are there, of all: `5.3 MB/12 MB`. */
export const bytesWords = ({ role, counting, bytes }: Transfer): string => {
  if (role !== 'mover') return size(bytes.done);
  return `${size(bytes.done)}/${size(Math.max(bytes.done, bytes.found))}${counting ? '+' : ''}`;
};

/** State or outcome in a few words: `running 45%`, `done, 2 failed`. */
export const stateWords = (transfer: Transfer): string => {
  const { state, outcome, files, detached, dryRun } = transfer;
  const percent = percentOf(transfer);
  const progress = percent === undefined ? (transfer.counting ? [' counting'] : []) : [` ${percent}%`];
  const isFailed = state === 'ended' && outcome === 'failed';
  return [
    isFailed
      ? `failed${failedWords(transfer)}`
      : state === 'ended'
        ? (outcome ?? 'ended')
        : [state, ...progress].join(''),
    ...(files.failed > 0 && !isFailed ? [`${files.failed} failed`] : []),
    ...(dryRun === true ? ['dry run'] : []),
    ...(detached === true ? ['detached'] : []),
  ].join(', ');
};

/** `: 2 of 9 files, disk full` */
const failedWords = ({ files, error }: Transfer): string => {
  const all = Math.max(files.found, files.done + files.skipped + files.failed);
  const why = [
    ...(files.failed === 0 ? [] : [files.failed === all ? count(all, 'file') : `${files.failed} of ${all} files`]),
    ...(error === undefined ? [] : [plain(error.replaceAll('_', ' '))]),
  ];
  return why.length === 0 ? '' : `: ${why.join(', ')}`;
};

/** What is moved: `a.txt, b.txt and 3 more`. */
export const whatWords = ({ sources, moreSources = 0, dest }: Transfer): string => {
  const [first = dest, second, ...more] = sources;
  if (second === undefined) return plain(first);
  if (more.length === 0) return `${plain(first)} and ${plain(second)}`;
  return `${plain(first)}, ${plain(second)} and ${more.length + moreSources} more`;
};

/** What a transfer did, or a dry run would do, in one line. */
export const summaryOf = (transfer: Transfer, reader: Reader): string => {
  const { files, removed, drafts = 0, dryRun, leaves } = transfer;
  const isDry = dryRun === true;
  const moved = movedWords(transfer);
  const tail = [
    ...(removed === 0 ? [] : [isDry ? `would remove ${removed}` : `${removed} removed`]),
    ...(drafts === 0 ? [] : [`${count(drafts, 'draft')} of loopsy left behind`]),
  ];
  const verb = isDry ? plural(files.skipped, 'is', 'are') : plural(files.skipped, 'was', 'were');
  const were = `${verb} there already${leaves === undefined ? '' : LEFT[leaves]}`;
  if (moved !== undefined) {
    const skipped = files.skipped === 0 ? [] : [`${files.skipped} ${were}`];
    return [headOf(transfer, moved, reader), ...skipped, ...tail].join('; ');
  }
  if (files.skipped === 0) return [nothingWords(transfer, reader), ...tail].join('; ');
  return [`${count(files.skipped, 'file')} ${were}: ${targetWords(transfer, reader)}`, ...tail].join('; ');
};

/** Not all of it is the same. */
const LEFT = { existing: ', and left alone', newer: ', as new or newer' } as const;

const plural = (number: number, one: string, many: string): string => (number === 1 ? one : many);

const nothingWords = (transfer: Transfer, reader: Reader): string => {
  if (transfer.files.failed > 0) return transfer.dryRun === true ? 'nothing would arrive' : 'nothing arrived';
  const verb = verbOf(transfer, reader);
  return transfer.dryRun === true ? `would ${verb} nothing` : `there was nothing to ${verb}`;
};

const headOf = (transfer: Transfer, moved: string, reader: Reader): string => {
  const { bytes, files, duration, dryRun } = transfer;
  const way = wayWords(transfer, reader);
  if (dryRun === true) {
    // What was there already is among the bytes that are done.
    const amount = files.skipped === 0 ? `, ${size(bytes.done)},` : '';
    return `would ${verbOf(transfer, reader)} ${moved}${amount} ${way}`;
  }
  const sent = arrivedBytes(transfer);
  const rate = sent > 0 && duration > 0 ? ` (${size((sent / duration) * 1000)}/s)` : '';
  return `${moved}, ${size(sent)} in ${spent(duration)}${rate} ${way}`;
};

/**
 * Bytes that were moved, and have arrived. What went over the wire holds more than bytes of files, and what broke on the
 * way went twice; what is there may have been there before.
 */
export const arrivedBytes = ({ bytes: { sent, done, skipped = 0 } }: Transfer): number =>
  Math.min(sent, done - skipped);

/** Undefined where nothing was moved. */
const movedWords = ({ files, folders, links }: Transfer): string | undefined => {
  if (files.done > 0) return count(files.done, 'file');
  if (files.skipped > 0) return undefined;
  const rest = [...(folders > 0 ? [count(folders, 'folder')] : []), ...(links > 0 ? [count(links, 'link')] : [])];
  return rest.length === 0 ? undefined : rest.join(' and ');
};

/** What is done with files, as the reader sees it. */
export const verbOf = ({ from, to }: Transfer, { here }: Reader): string => {
  if ((from.nodeId === here) === (to.nodeId === here)) return 'copy';
  return from.nodeId === here ? 'send' : 'pull';
};

/** Where it went; and where it came from, where that was another machine. */
const wayWords = (transfer: Transfer, reader: Reader): string => {
  const { from } = transfer;
  const source = from.nodeId === reader.here ? '' : `from ${plain(from.name)} `;
  return `${source}to ${targetWords(transfer, reader)}`;
};

/** The real path of one thing; of several the folder that they went into, as it was typed. */
const targetWords = (transfer: Transfer, reader: Reader): string => {
  const { to, sources, path } = transfer;
  return placeWords(to, path !== undefined && sources.length <= 1 ? path : typedDest(transfer, reader), reader);
};

const typedDest = ({ to, dest }: Transfer, { here, typed = dest }: Reader): string =>
  to.nodeId === here ? typed : dest;

/**
 * Where lies what a dry run would remove: it is at the target alone, so the name of its source says nothing of it. `item`
 * begins with that name.
 */
export const removedWords = (transfer: Transfer, item: string, reader: Reader): string => {
  const { to, path } = transfer;
  const [folder, below] =
    path === undefined ? [typedDest(transfer, reader), item] : [path, item.slice(item.indexOf('/') + 1)];
  return placeWords(to, (/[\\/]$/.test(folder) ? folder : `${folder}/`) + below, reader);
};

/** Some failures with one and the same thing to do about them. */
export interface FailureGroup {
  readonly lines: readonly string[];
  readonly hint: string | undefined;
}

/** A line for each failure that is known, and how many more there were. */
export const failureGroups = (transfer: Transfer, reader: Reader): FailureGroup[] => {
  const { failures, files } = transfer;
  const more = files.failed - failures.reduce((sum, failure) => sum + (failure.files ?? 1), 0);
  // Where one thing kept all from arriving, its own line says so.
  if (more <= 0 && failures.every(({ message }) => message === transfer.message)) return [];
  const groups = new Map<string, string[]>();
  for (const failure of failures) {
    const hint = failureHint(failure, peerAt(transfer, failure.at, reader));
    const lines = groups.get(hint) ?? [];
    lines.push(failureLine(failure, onWords(transfer, failure.at, reader)));
    groups.set(hint, lines);
  }
  const known = Array.from(groups, ([hint, lines]) => ({ lines, hint: hint === '' ? undefined : plain(hint) }));
  return more > 0 ? [...known, { lines: [moreWords(transfer, more, reader)], hint: undefined }] : known;
};

/** Most messages begin with the path: it is not said twice. */
const failureLine = ({ path, message, files = 0 }: TransferFailure, where: string): string => {
  const name = message.startsWith(JSON.stringify(path)) ? '' : `${plain(path)}: `;
  return `${name}${plain(message)}${files === 0 ? '' : `, with ${count(files, 'file')} in it`}${where}`;
};

/** What its other machine could not read or write is known there. */
const moreWords = ({ role, failures, from, to }: Transfer, more: number, reader: Reader): string => {
  if (role === 'mover' || failures.length > 0) return `and ${more} more`;
  return `${count(more, 'file')} did not arrive: ${endName(role === 'target' ? from : to, reader)} knows why`;
};

const failureHint = ({ hint, error }: TransferFailure, peer: string | undefined): string => {
  return listHint(error, hint ?? hintOf(error), peer) ?? '';
};

const hintOf = (error: string): string | undefined => {
  const row: ErrorRow | undefined = isKnown(error) ? ERRORS[error] : undefined;
  return row?.hint;
};

/** Undefined where all was done; else `2 of 30 files did not arrive`. */
export const missedWords = ({ files, failures, dryRun }: Transfer): string | undefined => {
  const missed = files.failed;
  if (missed === 0) return failures.length === 0 ? undefined : NOT_ALL[dryRun === true ? 'dry' : 'real'];
  const all = Math.max(files.found, files.done + files.skipped + missed);
  const which = all === missed ? count(missed, 'file') : `${missed} of ${all} files`;
  return `${which} ${dryRun === true ? 'would' : 'did'} not arrive`;
};

/** Where what was not done is no file. */
const NOT_ALL = { dry: 'not everything would be done', real: 'not everything was done' } as const;

/** Why a transfer as a whole did not come to its end; undefined where it did, and single files alone failed. */
export const errorOf = (transfer: Transfer, reader: Reader): LoopsyError | undefined => {
  const { outcome, error, message } = transfer;
  if (outcome === 'done' || outcome === undefined) return undefined;
  if (outcome === 'failed' && error === undefined && missedWords(transfer) !== undefined) return undefined;
  const ending = ENDINGS[outcome];
  const text = message ?? (error !== undefined && isKnown(error) ? ERRORS[error].message : ending.message);
  const again = error === undefined || error === 'transfer_cancelled' ? AGAIN : undefined;
  const known = transfer.hint ?? again ?? hintOf(error ?? '');
  const hint = listHint(error ?? '', known, peerAt(transfer, transfer.at, reader));
  const on = onWords(transfer, transfer.at, reader);
  const body = { error: { name: error ?? ending.error, message: `${text}${on}`, hint: hint ?? '' } };
  return errorFromBody(body) ?? new LoopsyError('internal');
};

const isKnown = (name: string): name is keyof typeof ERRORS => Object.hasOwn(ERRORS, name);

/** What to do about most that can end a transfer. */
export const AGAIN = 'run the same command again: it goes on where it was';

/** Where the node says no more than how it ended. */
const ENDINGS = {
  failed: { error: 'transfer_failed', message: 'the transfer failed' },
  cancelled: { error: 'transfer_cancelled', message: 'the transfer was cancelled' },
  lost: { error: 'outcome_unknown', message: 'the node that moved the files left in the middle' },
} as const;
