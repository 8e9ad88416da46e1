import { fstatSync, statSync, writeSync, type Stats } from 'node:fs';
import { homedir } from 'node:os';
import { isatty } from 'node:tty';

import { systemClock } from '../kernel/clock.ts';
import type { ByteSink, Io, Stdin } from './cli.ts';

/** What a shell expects of a program whose reader has gone. */
const READER_GONE = 141;

/** The real process. Its streams are opened when they are first written to: each costs a part of a millisecond. */
export const processIo = (): Io => ({
  stdout: byteSink(1, () => process.stdout),
  stderr: byteSink(2, () => process.stderr),
  stdin,
  env: process.env,
  home: homedir(),
  cwd: process.cwd(),
  platform: process.platform,
  uid: process.getuid?.() ?? -1,
  clock: systemClock,
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

const byteSink = (fd: number, open: () => NodeJS.WriteStream): ByteSink => {
  // Node's own writer ignores a short count, and so would cut a file on a nearly full disk without a word.
  const isFile = statOf(fd)?.isFile() === true;
  const stream = (): NodeJS.WriteStream => {
    const writer = open();
    // `| head` closes our stdout: leaving closes the connection, and that ends a run that was started by it.
    if (!opened.has(writer))
      writer.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? READER_GONE : 1));
    opened.add(writer);
    return writer;
  };
  return {
    isTTY: isatty(fd),
    write: (text) => (isFile ? writeFully(fd, Buffer.from(text)) : stream().write(text)),
    writeBytes: (bytes) => {
      if (isFile) return writeFully(fd, bytes);
      const writer = stream();
      if (writer.write(bytes)) return undefined;
      return new Promise((resolve) => writer.once('drain', resolve));
    },
  };
};

/** Resolves when everything written has left the process. */
export const flushOutput = async (): Promise<void> => {
  for (const stream of opened) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
  }
};

const writeFully = (fd: number, bytes: Uint8Array): undefined => {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
};

/** A closed stdin and the null device hold nothing: asking them would only cost time. */
const stdin = (): Stdin => {
  const facts = statOf(0);
  if (facts === undefined || (facts.isCharacterDevice() && facts.rdev === nullDevice())) return { kind: 'none' };
  return { kind: 'stream', stream: process.stdin };
};

const nullDevice = (): number | undefined => (process.platform === 'win32' ? undefined : statSync('/dev/null').rdev);
