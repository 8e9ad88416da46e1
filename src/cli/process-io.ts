import { fstatSync, statSync, writeSync, type Stats } from 'node:fs';
import { homedir } from 'node:os';

import { systemClock } from '../kernel/clock.ts';
import type { ByteSink, Io, Stdin } from './cli.ts';

/** The real process. */
export const processIo = (): Io => ({
  stdout: byteSink(process.stdout, 1),
  stderr: byteSink(process.stderr, 2),
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

/** Resolves when everything written has left the process. */
export const flushOutput = async (): Promise<void> => {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
  }
};

const statOf = (fd: number): Stats | undefined => {
  try {
    return fstatSync(fd);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown) return undefined;
    throw thrown;
  }
};

const byteSink = (stream: NodeJS.WriteStream, fd: number): ByteSink => {
  // Node's own writer ignores a short count, and so would cut a file on a nearly full disk without a word.
  const isFile = statOf(fd)?.isFile() === true;
  return {
    isTTY: stream.isTTY,
    write: (text) => (isFile ? writeFully(fd, Buffer.from(text)) : stream.write(text)),
    writeBytes: (bytes) => {
      if (isFile) return writeFully(fd, bytes);
      if (stream.write(bytes)) return undefined;
      return new Promise((resolve) => stream.once('drain', resolve));
    },
  };
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
