import type { ByteSink, Cli } from './cli.ts';
import { plain } from './output.ts';

const NEWLINE = 10;
/** A longer line is cut: what one machine writes without an end must not fill the memory. */
const MAX_LINE_BYTES = 65_536;

/** A command's surroundings in which every line says which machine it comes from. */
export interface PrefixedOutput {
  readonly cli: Cli;
  /** Writes a last line that had no end. */
  readonly flush: () => Promise<void>;
}

/** Whose lines they are. */
interface Prefix {
  readonly name: string;
  /** Of the longest name. */
  readonly width: number;
  /** Told of all that comes, also where a line has no end yet. */
  readonly onOutput: () => void;
}

/** Whole lines with the machine's name before them: lines of several machines mix, and parts of lines never do. */
export const prefixed = (cli: Cli, { name, width, onOutput }: Prefix): PrefixedOutput => {
  const { io, out } = cli;
  const mark = Buffer.from(`${out.paint.dim(`${plain(name).padEnd(width)} |`)} `);
  const stdout = lineSink(io.stdout, { mark, onOutput });
  const stderr = lineSink(io.stderr, { mark, onOutput });
  return {
    cli: {
      ...cli,
      io: Object.create(io, { stdout: { value: stdout }, stderr: { value: stderr } }) as Cli['io'],
      out: {
        ...out,
        note: (text) => out.note(`${mark.toString()}${text}`),
        document: (value) => {
          onOutput();
          out.document({ peer: name, ...Object(value) });
        },
      },
    },
    flush: async () => {
      await stdout.flush();
      await stderr.flush();
    },
  };
};

const lineSink = (
  sink: ByteSink,
  { mark, onOutput }: { mark: Buffer; onOutput: () => void },
): ByteSink & { flush: () => Promise<void> } => {
  let rest = Buffer.alloc(0);
  /** Each whole line, and what is too long for one, with the mark before it. */
  const take = (bytes: Uint8Array): Buffer => {
    const parts: Buffer[] = [];
    let text = Buffer.concat([rest, bytes]);
    for (;;) {
      const end = text.subarray(0, MAX_LINE_BYTES).indexOf(NEWLINE);
      if (end < 0 && text.length < MAX_LINE_BYTES) break;
      const line = text.subarray(0, end < 0 ? MAX_LINE_BYTES : end + 1);
      parts.push(mark, line, ...(end < 0 ? [Buffer.of(NEWLINE)] : []));
      text = text.subarray(line.length);
    }
    rest = Buffer.from(text);
    return Buffer.concat(parts);
  };
  const writeBytes = (bytes: Uint8Array): Promise<void> | undefined => {
    onOutput();
    const lines = take(bytes);
    return lines.length === 0 ? undefined : sink.writeBytes(lines);
  };
  return {
    get isTTY() {
      return sink.isTTY;
    },
    writeBytes,
    write: (text) => writeBytes(Buffer.from(text)) === undefined,
    flush: async () => {
      if (rest.length > 0) await writeBytes(Buffer.of(NEWLINE));
    },
  };
};
