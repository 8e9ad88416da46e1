import { fstatSync, readFileSync, statSync, writeSync, type Stats } from 'node:fs';
import { homedir } from 'node:os';
import { isatty } from 'node:tty';

import { diskFault } from '../config/disk-faults.ts';
import { systemClock } from '../kernel/clock.ts';
import type { ByteSink, Io, Stdin } from './cli.ts';

/** What a shell expects of a program whose reader has gone. */
const READER_GONE = 141;

/** A pipe surely takes that much, so that a short answer needs no stream. */
const DIRECT_BYTES = 4096;

/** The real process. Nothing is asked of it before it is needed: each question costs a part of a millisecond. */
export const processIo = (): Io => ({
  stdout: byteSink(1, () => process.stdout),
  stderr: byteSink(2, () => process.stderr),
  stdin,
  env: process.env,
  get home() {
    return homedir();
  },
  cwd: process.cwd(),
  platform: process.platform,
  uid: process.getuid?.() ?? -1,
  clock: systemClock,
  lastWords: (text) => void (lastWords = text),
  onSignal: (signal, listener) => {
    process.on(signal, listener);
    return () => process.removeListener(signal, listener);
  },
});

const statOf = (fd: number): Stats | undefined => {
  try {
    return fstatSync(fd);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown) return undefined;
    throw thrown;
  }
};

const opened = new Set<NodeJS.WriteStream>();

let lastWords: string | undefined;

// `| head` closes our stdout: leaving closes the connection, and that ends a run that was started by it.
const leave = (fd: number, thrown: Error & { readonly code?: unknown }): never => {
  const words = fd === 1 ? lastWords : undefined;
  lastWords = undefined;
  if (words !== undefined) writeNow(2, Buffer.from(`${words}\n`));
  if (thrown.code === 'EPIPE') return process.exit(READER_GONE);
  if (fd === 1) {
    const fault = diskFault(thrown);
    const why = fault === undefined ? thrown.message : `${fault.message} (free some space where stdout goes)`;
    writeNow(2, Buffer.from(`loopsy: stdout can not be written: ${why}\n`));
  }
  return process.exit(1);
};

const byteSink = (fd: number, open: () => NodeJS.WriteStream): ByteSink => {
  let isFile: boolean | undefined;
  let writer: NodeJS.WriteStream | undefined;
  // A console of Windows needs its own way for what is not ASCII.
  let direct = process.platform === 'win32' ? 0 : DIRECT_BYTES;
  /** What only a stream can take: it waits for its reader, and what is behind it waits too. */
  const forStream = (bytes: Uint8Array): Uint8Array => {
    // Node's own writer ignores a short count, and so would cut a file on a nearly full disk without a word.
    isFile ??= statOf(fd)?.isFile() === true;
    if (!isFile && (writer !== undefined || bytes.length > direct)) return bytes;
    direct -= bytes.length;
    return bytes.subarray(writeNow(fd, bytes));
  };
  const stream = (): NodeJS.WriteStream => {
    writer ??= open().on('error', (thrown: Error) => leave(fd, thrown));
    opened.add(writer);
    return writer;
  };
  const write = (bytes: Uint8Array): boolean => {
    const rest = forStream(bytes);
    return rest.length === 0 || stream().write(rest);
  };
  return {
    get isTTY() {
      return isatty(fd);
    },
    get columns() {
      return isatty(fd) ? open().columns : undefined;
    },
    write: (text) => write(Buffer.from(text)),
    writeBytes: (bytes) => {
      write(bytes);
      if (writer === undefined) return undefined;
      return writer.writableLength === 0 && writer.errored === null ? undefined : written(writer);
    },
  };
};

/** Resolves when everything written has left the process. */
export const flushOutput = async (): Promise<void> => {
  for (const stream of opened) {
    if (stream.writableLength > 0) await written(stream);
  }
};

/** Where it fails, its error ends the process: nothing may go on as if it had been written. */
const written = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => stream.write('', (error) => (error instanceof Error ? undefined : resolve())));

/** @returns how much was written: less where a pipe is full and may not be waited for. */
const writeNow = (fd: number, bytes: Uint8Array): number => {
  let at = 0;
  try {
    while (at < bytes.length) at += writeSync(fd, bytes, at);
  } catch (thrown) {
    if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
    if (thrown.code !== 'EAGAIN') leave(fd, thrown);
  }
  return at;
};

/** A closed stdin and the null device hold nothing: asking them would only cost time. */
const stdin = (): Stdin => {
  const facts = statOf(0);
  if (facts === undefined) return { kind: 'none' };
  if (facts.isCharacterDevice() && facts.rdev === nullDevice()) return { kind: 'none', isNull: isOpenedByOthers() };
  return { kind: 'stream', stream: process.stdin };
};

/** Node puts the null device in the place of a closed stdin, to be written, too: Linux tells. Elsewhere both are one. */
const isOpenedByOthers = (): boolean => {
  if (process.platform !== 'linux') return true;
  try {
    const [, mode] = /^flags:\s*\d*(\d)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8')) ?? [];
    return mode === '0';
  } catch {
    return true;
  }
};

const nullDevice = (): number | undefined => (process.platform === 'win32' ? undefined : statSync('/dev/null').rdev);
