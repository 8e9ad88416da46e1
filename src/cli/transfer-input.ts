import { readFile } from 'node:fs/promises';
import { posix, win32 } from 'node:path';

import { expandPath, type Place } from '../config/paths.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { MAX_SOURCES } from '../protocol/transfer-limits.ts';
import type { TransferInput } from '../protocol/transfers.ts';
import type { Cli } from './cli.ts';
import { usageError, type Invocation } from './parse.ts';
import { localDest, localSource, remotePath, typedPlace, type TypedPlace } from './transfer-paths.ts';
import { parseBytes, peerNamed } from './values.ts';

/** Where files are, and where they go. */
export type Ends = Pick<TransferInput, 'from' | 'to' | 'sources' | 'dest'>;
type Choices = Omit<TransferInput, keyof Ends>;

/** A command line, and what its local paths are read by. */
interface Typed {
  readonly invocation: Invocation;
  readonly io: Pick<Place, 'cwd' | 'platform'>;
}

/** What a shell has made of stars can be more than one transfer takes. */
const sourcesIn = <Source>(sources: readonly Source[]): readonly Source[] => {
  if (sources.length <= MAX_SOURCES) return sources;
  throw usageError(
    `${sources.length} sources are too many: at most ${MAX_SOURCES}`,
    'name the folder that they are in (x/. is what is in it), or put the pattern in quotes',
  );
};

const LEAST_LIMIT = 1000;

/** `send <peer> <src..> <dest>`. */
export const endsOfSend = ({ invocation, io }: Typed): Ends => {
  const [peer, ...paths] = invocation.args;
  const to = peerNamed(peer);
  return {
    ...(to === undefined ? {} : { to }),
    sources: sourcesIn(paths.slice(0, -1)).map((path) => localSource(path, io)),
    dest: remotePath(paths.at(-1) ?? ''),
  };
};

/** `pull <peer> <src..> <dest>`. */
export const endsOfPull = ({ invocation, io }: Typed): Ends => {
  const [peer, ...paths] = invocation.args;
  const from = peerNamed(peer);
  return {
    ...(from === undefined ? {} : { from }),
    sources: sourcesIn(paths.slice(0, -1)).map(remotePath),
    dest: localDest(paths.at(-1) ?? '', io),
  };
};

/** `cp <peer:path..> <peer:path>`. */
export const endsOfCp = ({ invocation, io }: Typed): Ends => {
  const places = invocation.args.map(typedPlace);
  const sources = sourcesIn(places.slice(0, -1));
  const [target = { machine: undefined, path: '' }] = places.slice(-1);
  const from = oneMachine(sources);
  const to = peerNamed(target.machine);
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    sources: sources.map(({ machine, path }) =>
      machine === undefined ? localSource(path, io) : remotePath(path === '' ? '~' : path),
    ),
    dest:
      target.machine === undefined ? localDest(target.path, io) : remotePath(target.path === '' ? '~/' : target.path),
  };
};

const oneMachine = (sources: readonly TypedPlace[]): string | undefined => {
  const machines = [...new Set(sources.map(({ machine }) => peerNamed(machine)))];
  if (machines.length <= 1) return machines[0];
  const names = machines.map((machine) => machine ?? 'this machine');
  throw usageError(`the sources are on ${names.join(' and ')}`, 'copy from one machine at a time');
};

/** What the options say. @throws {LoopsyError} where one makes no sense, or the file of patterns cannot be read. */
export const choicesOf = async (cli: Cli): Promise<Choices> => {
  const { invocation } = cli;
  refuseSenseless(invocation);
  const exclude = [...(await patternsIn(cli, invocation.value('exclude-from'))), ...invocation.values('exclude')];
  const limit = invocation.value('limit');
  const on = <Key extends string>(option: string, key: Key): Partial<Record<Key, true>> =>
    // The cast says what a computed key hides: it is the only one.
    invocation.has(option) ? ({ [key]: true } as Record<Key, true>) : {};
  return {
    ...(exclude.length === 0 ? {} : { exclude }),
    ...on('gitignore', 'gitignore'),
    ...on('checksum', 'checksum'),
    ...on('update', 'update'),
    ...on('no-clobber', 'noClobber'),
    ...on('dry-run', 'dryRun'),
    ...on('delete', 'delete'),
    ...(limit === undefined ? {} : { limit: limitOf(limit) }),
  };
};

const refuseSenseless = (invocation: Invocation): void => {
  if (invocation.has('dry-run') && invocation.has('detach'))
    throw usageError(
      'with --detach nobody would read what --dry-run says',
      'leave --detach out to see what would be done, or --dry-run to do it',
    );
  if (invocation.values('exclude').includes(''))
    throw usageError('a pattern of --exclude is empty', 'look at the variable or the quotes that it came from');
};

const limitOf = (text: string): number => {
  const limit = parseBytes(text, 'limit');
  if (limit >= LEAST_LIMIT) return limit;
  throw usageError(`--limit ${text} is too little`, `a limit is ${LEAST_LIMIT} bytes a second, or more`);
};

/** Patterns of a file, as in .gitignore: blank lines and those that begin with # say nothing. */
const patternsIn = async ({ io }: Cli, file: string | undefined): Promise<string[]> => {
  if (file === undefined) return [];
  const path = (io.platform === 'win32' ? win32 : posix).resolve(io.cwd, expandPath(file, io.home, io.platform));
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new LoopsyError('invalid_request', {
      message: `--exclude-from ${file} can not be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: 'name a file with one pattern a line',
      cause,
    });
  });
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
};
