import { diskFault } from '../config/disk-faults.ts';
import { LoopsyError, type ErrorBody } from '../protocol/errors.ts';

/** Where a command writes; a subset of a stream, so that tests can look. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** The width of a terminal. */
  readonly columns?: number | undefined;
}

/** Everything a command prints with. */
export interface Output {
  readonly json: boolean;
  /** For people, on stdout; nothing with --json. */
  readonly print: (...lines: readonly string[]) => void;
  /** One JSON document, or one event's line. */
  readonly document: (value: unknown) => void;
  /** A remark, on stderr. */
  readonly note: (text: string) => void;
  readonly paint: Paint;
}

/** Colours, or nothing where they are not wanted. `lit` is white on black, whatever the terminal's own colours are. */
export type Paint = Readonly<Record<keyof typeof CODES, (text: string) => string>>;

const CODES = {
  bold: ['1', '22'],
  dim: ['2', '22'],
  red: ['31', '39'],
  green: ['32', '39'],
  yellow: ['33', '39'],
  lit: ['97;40', '39;49'],
} as const;

/** True where colours are wanted: a terminal, and nobody said no. */
export const wantsColour = (sink: Sink, env: Readonly<Record<string, string | undefined>>): boolean =>
  sink.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';

/** Makes the colours. */
const paintWith = (colour: boolean): Paint => {
  const one = ([on, off]: readonly [string, string]) =>
    colour ? (text: string) => `\u001B[${on}m${text}\u001B[${off}m` : (text: string) => text;
  return {
    bold: one(CODES.bold),
    dim: one(CODES.dim),
    red: one(CODES.red),
    green: one(CODES.green),
    yellow: one(CODES.yellow),
    lit: one(CODES.lit),
  };
};

/**
 * Control, bidi, zero-width and other invisible characters: what could forge a line or hide in one. Made when it is
 * needed, as below: tables of Unicode take milliseconds, and nearly all texts are ASCII.
 */
const invisible = (): RegExp =>
  new RegExp(String.raw`[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]`, 'gu');

const PRINTABLE_ASCII = /^[ -~]*$/;

/** Text of others, made harmless: what can't be seen is written as `\u{202e}`. */
export const plain = (text: string): string => {
  if (PRINTABLE_ASCII.test(text)) return text;
  return text.replaceAll(invisible(), (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
};

const wide = (): RegExp =>
  new RegExp(
    String.raw`[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}`,
    'u',
  );

/** The columns that a text takes in a terminal. */
const widthOf = (text: string): number => {
  const shown = text.replaceAll(/\u001B\[[\d;]+m/g, '');
  if (PRINTABLE_ASCII.test(shown)) return shown.length;
  const [isWide, isMark] = [wide(), new RegExp(String.raw`\p{M}`, 'u')];
  let width = 0;
  for (const character of shown.normalize('NFC')) {
    if (!isMark.test(character)) width += isWide.test(character) ? 2 : 1;
  }
  return width;
};

/** The part of a text without colours that fits into so many columns of a terminal. */
export const fitted = (text: string, columns: number): string => {
  if (widthOf(text) <= columns) return text;
  let [shown, width] = ['', 1];
  for (const character of text) {
    width += widthOf(character);
    if (width > columns) break;
    shown += character;
  }
  return columns < 1 ? '' : `${shown}…`;
};

/** Lines with aligned columns; the first row is the head. */
export const table = (rows: readonly (readonly string[])[], paint: Paint): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => widthOf(row[column] ?? ''))));
  return rows.map((row, at) => {
    const line = row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))))
      .join('  ')
      .trimEnd();
    return at === 0 ? paint.dim(line) : line;
  });
};

/** Lines of facts: `name   value`. */
export const facts = (rows: readonly (readonly [string, string])[], paint: Paint): string[] => {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${paint.dim(name.padEnd(width))}  ${value}`);
};

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
] as const;

/** A span of time for people: `350 ms`, `12 s`, `3 min`, `2 d`. */
export const duration = (ms: number): string => {
  const unit = UNITS.find(([size]) => ms >= size);
  return unit === undefined ? `${Math.max(0, Math.round(ms))} ms` : `${Math.floor(ms / unit[0])} ${unit[1]}`;
};

/** A span of time that something took: `350 ms`, `1.4 s`, `12 s`, `3 min 5 s`. */
export const spent = (ms: number): string => {
  if (ms < 1000) return duration(ms);
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const unit = UNITS.findIndex(([size]) => ms >= size);
  const [size, name] = UNITS[unit] ?? [1000, 's'];
  const [smaller, smallerName] = UNITS[unit + 1] ?? [ms, ''];
  const rest = Math.floor((ms % size) / smaller);
  return `${Math.floor(ms / size)} ${name}${rest > 0 ? ` ${rest} ${smallerName}` : ''}`;
};

/** How long ago, for people. */
export const ago = (at: number, now: number): string => (now - at < 1000 ? 'now' : `${duration(now - at)} ago`);

/** A number of bytes for people. */
export const size = (bytes: number): string => {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const scaled = bytes / 1000 ** power;
  return `${scaled < 10 && power > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${['B', 'kB', 'MB', 'GB', 'TB'][power] ?? 'TB'}`;
};

/** A local time for people: `2026-11-20 09:05:03`. */
export const localTime = (at: number): string => {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace('T', ' ');
};

/** A count with its noun: `1 peer`, `3 peers`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

/** A fingerprint in groups of four, so that two people can compare it. */
export const grouped = (fingerprint: string): string => fingerprint.replaceAll(/(.{4})(?=.)/g, '$1 ');

/** Makes what a command prints with. */
export const createOutput = (
  streams: { stdout: Sink; stderr: Sink },
  choices: { json: boolean; colour: boolean },
): Output => ({
  json: choices.json,
  paint: paintWith(choices.colour),
  print: (...lines) => void (choices.json || streams.stdout.write(lines.map((line) => `${line}\n`).join(''))),
  document: (value) => void streams.stdout.write(`${JSON.stringify(value)}\n`),
  note: (text) => void streams.stderr.write(`${text}\n`),
});

/** Any thrown value as the error that surfaces show. */
export const asError = (thrown: unknown): LoopsyError =>
  thrown instanceof LoopsyError ? thrown : (diskFault(thrown) ?? unexpected(thrown));

/** What to do about what must not be. */
export const MISTAKE = 'this is a mistake in loopsy: please report it with what you typed';

const unexpected = (thrown: unknown): LoopsyError =>
  new LoopsyError('internal', {
    message: firstLine(thrown instanceof Error ? thrown.message : String(thrown)),
    hint: MISTAKE,
    cause: thrown,
  });

const firstLine = (text: string): string => text.trim().split('\n', 1)[0] ?? '';

/** What of an error's facts people read on lines of its own: what they compare, and what a program said last. */
const detailLines = ({ expected, shown, said }: Readonly<Record<string, unknown>>): string[] => [
  ...(typeof expected === 'string' && typeof shown === 'string'
    ? [`  expected  ${plain(expected)}`, `  shown     ${plain(shown)}`]
    : []),
  ...(Array.isArray(said) ? said.map((line) => `    ${plain(String(line))}`) : []),
];

/** When it may be tried again, where that is known; rounded up. */
export const againWords = ({ retryAfterMs }: Readonly<Record<string, unknown>> = {}): string[] =>
  typeof retryAfterMs === 'number' ? [`try again in ${spent(Math.ceil(retryAfterMs / 1000) * 1000)}`] : [];

/** An error for people: what happened, and what to do next. */
export const errorLines = ({ error }: ErrorBody, paint: Paint): string[] => [
  `${paint.red('loopsy:')} ${plain(error.message)}`,
  ...detailLines(error.details ?? {}),
  ...(error.name === 'message_loop' ? againWords(error.details).map((words) => `  ${words}`) : []),
  ...(error.hint === undefined ? [] : [`  ${paint.dim(plain(error.hint))}`]),
];
