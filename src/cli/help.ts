import type { CommandSpec, OptionSpec } from './command-spec.ts';
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from './commands.ts';
import type { Paint } from './output.ts';

/** What stands behind `loopsy`: `peers grant <peer> <level> [options]`. */
const usageOf = (spec: CommandSpec): string => {
  const args = (spec.args ?? []).map(({ name, optional, verbatim, repeat, choices }) => {
    const word = verbatim === true || repeat === true ? `${name}…` : (choices?.join('|') ?? name);
    return optional === true ? `[${word}]` : `<${word}>`;
  });
  const ours = spec.options === undefined ? [] : ['[options]'];
  // Options stand before a command that is not ours.
  const verbatim = spec.args?.some((arg) => arg.verbatim === true) === true;
  return ['loopsy', spec.path, ...(verbatim ? [...ours, ...args] : [...args, ...ours])].join(' ');
};

const columns = (rows: readonly (readonly [string, string])[], paint: Paint): string[] => {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${paint.dim(right)}`);
};

const optionRow = ({ name, short, value, summary }: OptionSpec): readonly [string, string] => [
  `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`,
  summary,
];

const section = (title: string, lines: readonly string[], paint: Paint): string[] => ['', paint.bold(title), ...lines];

/** Help for one command. */
export const commandHelp = (spec: CommandSpec, paint: Paint): string[] => [
  paint.bold(usageOf(spec)),
  `  ${spec.summary}`,
  ...(spec.details === undefined ? [] : ['', ...spec.details.split('\n').map((line) => `  ${line}`)]),
  ...(spec.options === undefined ? [] : section('Options', columns(spec.options.map(optionRow), paint), paint)),
  ...section('Examples', columns(spec.examples, paint), paint),
  ...section('Everywhere', columns(GLOBAL_OPTIONS.map(optionRow), paint), paint),
];

/** Help for a group: its commands. */
export const groupHelp = (group: string, paint: Paint): string[] => [
  `${paint.bold(`loopsy ${group}`)}: ${GROUPS[group]?.summary ?? ''}`,
  ...section(
    'Commands',
    columns(
      rowsOf(({ path }) => path.startsWith(`${group} `)),
      paint,
    ),
    paint,
  ),
  ...(GROUPS[group]?.details === undefined ? [] : ['', ...GROUPS[group].details.split('\n')]),
  '',
  paint.dim(`loopsy ${group} alone is loopsy ${GROUPS[group]?.alone ?? group}; --help behind a command says more`),
];

const rowsOf = (wanted: (spec: CommandSpec) => boolean): (readonly [string, string])[] =>
  COMMANDS.filter(wanted).map((spec) => [spec.path, spec.summary]);

/** Help for everything. */
export const overallHelp = (paint: Paint): string[] => [
  `${paint.bold('loopsy')}: your machines work together`,
  ...section(
    'Commands',
    columns(
      rowsOf(() => true),
      paint,
    ),
    paint,
  ),
  ...section('Options', columns(GLOBAL_OPTIONS.map(optionRow), paint), paint),
  '',
  paint.dim('loopsy <command> --help shows examples'),
];
