import { createHash, type Hash } from 'node:crypto';

import { EXIT, LoopsyError } from '../protocol/errors.ts';
import type { Cli } from './cli.ts';
import { isLive, LiveLine, RecentRate } from './live-line.ts';
import { plain, size, spent } from './output.ts';
import { usageError } from './parse.ts';
import { watchStdin, type WatchedStdin } from './stdin.ts';
import { remotePath } from './transfer-paths.ts';
import { saidBy } from './transfer-words.ts';
import { untilInterrupted } from './transfer-stream.ts';
import { peerNamed } from './values.ts';

/** Stands for stdin as a source, and for stdout as a destination. */
export const STDIO = '-';

/** Who waits longer for stdin is told so. */
const NOTE_MS = 1000;

/** `send <peer> - <dest>`: what comes on stdin, as one file. */
export const sendStdin = async (cli: Cli): Promise<number> => {
  const { invocation } = cli;
  const [peer, source, dest = '', ...more] = invocation.args;
  if (source !== STDIO || dest === STDIO || more.length > 0)
    throw alone('"-" is stdin, and stands alone in the place of the files', 'send kai - backup.sql');
  refuseOptions(cli, 'stdin is one stream of bytes');
  if (/[\\/]$/.test(remotePath(dest)))
    throw usageError('what comes on stdin has no name of its own', 'name the file: `loopsy send kai - dumps/shop.sql`');
  const stdin = openStdin(cli);
  const node = await cli.node();
  return untilInterrupted(cli, 'loopsy: stopped before the file was complete', async (signal) => {
    await seen(cli, stdin, signal);
    const begun = cli.io.clock.monotonicMs();
    const passing = pass(cli, stdin.bytes());
    try {
      const push = { destPath: dest, body: passing.bytes(), peer: peerNamed(peer), signal };
      const pushed = await node.client.pushFile(push).catch(saidBy(push.peer));
      passing.end();
      if (pushed.checksum !== passing.checksum()) throw mismatch('what lies there is not what came on stdin');
      if (cli.out.json) cli.out.document(pushed);
      const where = `${peerNamed(peer) === undefined ? '' : `${plain(peer ?? '')}:`}${plain(pushed.path)}`;
      if (!invocation.has('quiet')) cli.out.print(summary(pushed.size, cli.io.clock.monotonicMs() - begun, where));
      return EXIT.ok;
    } finally {
      passing.end();
    }
  });
};

/** `pull <peer> <src> -`: one file's bytes, to stdout. */
export const pullToStdout = async (cli: Cli): Promise<number> => {
  const { invocation, io } = cli;
  const [peer, source = '', dest, ...more] = invocation.args;
  if (dest !== STDIO || source === STDIO || more.length > 0)
    throw alone('"-" is stdout, and stands behind one file', 'pull kai backup.sql -');
  refuseOptions(cli, "stdout holds the file's bytes", ['json']);
  const node = await cli.node();
  return untilInterrupted(cli, 'loopsy: stopped before the file was complete', async (signal) => {
    const options = { sourcePath: remotePath(source), peer: peerNamed(peer), signal };
    const file = await node.client.pullFile(options).catch(saidBy(options.peer));
    const passing = pass(cli, file.body, file.size);
    try {
      for await (const bytes of passing.bytes()) await io.stdout.writeBytes(bytes);
    } catch (thrown) {
      saidBy(options.peer)(thrown);
    } finally {
      passing.end();
    }
    if (file.checksum() === passing.checksum()) return EXIT.ok;
    throw mismatch('what came is not what lies there');
  });
};

const alone = (message: string, example: string): LoopsyError =>
  usageError(message, `as in \`loopsy ${example}\`; a file that is called - is written ./-`);

const mismatch = (message: string): LoopsyError =>
  new LoopsyError('checksum_mismatch', { message, hint: 'do not use it; run the same command again' });

/** Most options say how files and folders are compared: there is nothing to compare here. */
const refuseOptions = ({ invocation }: Cli, why: string, more: readonly string[] = []): void => {
  const names = [...(invocation.spec?.options ?? []).map(({ name }) => name), ...more];
  const given = names.find((name) => name !== 'quiet' && invocation.has(name));
  if (given !== undefined) throw usageError(`${why}: --${given} says nothing there`, `leave --${given} out`);
};

const openStdin = ({ io }: Cli): WatchedStdin => {
  const stdin = io.stdin();
  const isTerminal = stdin.kind === 'stream' && 'isTTY' in stdin.stream && stdin.stream.isTTY === true;
  // The null device is an empty file, as for `cat > file`.
  if ((stdin.kind === 'stream' && !isTerminal) || (stdin.kind === 'none' && stdin.isNull === true))
    return watchStdin(stdin);
  throw usageError(
    isTerminal ? 'stdin is this terminal: nothing is piped in' : 'there is no stdin',
    'pipe something in: `pg_dump shop | loopsy send kai - shop.sql`',
  );
};

/** Nothing is asked of the node before the producer has begun, or ended. */
const seen = async ({ io, out, invocation }: Cli, stdin: WatchedStdin, signal: AbortSignal): Promise<void> => {
  const note = io.clock.after(NOTE_MS, () => {
    if (!invocation.has('quiet')) out.note('loopsy: waits for stdin');
  });
  const left = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([stdin.seen, left]);
  note.cancel();
  signal.throwIfAborted();
};

/** Bytes on their way. */
interface Passing {
  bytes(): AsyncGenerator<Uint8Array>;
  /** Takes the line about them off the terminal. */
  end(): void;
  /** Lower-case hex sha256 of all that has passed. */
  checksum(): string;
}

const pass = ({ io, out, invocation }: Cli, source: AsyncIterable<Uint8Array>, total?: number): Passing => {
  const hash: Hash = createHash('sha256');
  const rate = new RecentRate();
  let passed = 0;
  const compose = (): string => {
    const of = total === undefined ? size(passed) : `${size(passed)}/${size(total)}`;
    return rate.perSecond > 0 ? `${of}  ${size(rate.perSecond)}/s` : of;
  };
  const line = new LiveLine({ sink: io.stderr, clock: io.clock, compose });
  // Where the bytes themselves go to a terminal, a line would stand in the middle of them.
  const isShown =
    isLive(io.stderr, io.env) &&
    !out.json &&
    !invocation.has('quiet') &&
    (total === undefined || io.stdout.isTTY !== true);
  return {
    async *bytes() {
      for await (const bytes of source) {
        hash.update(bytes);
        passed += bytes.length;
        rate.add(io.clock.monotonicMs(), passed);
        if (isShown) line.changed();
        yield bytes;
      }
    },
    end: () => line.clear(),
    checksum: () => hash.digest('hex'),
  };
};

const summary = (bytes: number, ms: number, where: string): string => {
  const rate = ms > 0 && bytes > 0 ? ` (${size((bytes / ms) * 1000)}/s)` : '';
  return `${size(bytes)} in ${spent(ms)}${rate} to ${where}`;
};
