import { existsSync } from 'node:fs';

import { nodePaths, resolveDataDir } from '../config/paths.ts';
import { readRegistration } from '../config/read-registration.ts';
import { EXIT, LoopsyError } from '../protocol/errors.ts';
import { VERSION } from '../protocol/version.ts';
import type { Cli, Command, Commands, Io } from './cli.ts';
import { commands as execCommands } from './commands/exec.ts';
import { commands as statusCommands } from './commands/status.ts';
import { connectNode, versionNote } from './connect.ts';
import { asError, createOutput, errorLines, plain, wantsColour, type Output } from './output.ts';
import { parseCommandLine, type Invocation } from './parse.ts';

/** What scripts call most is loaded with the command itself; everything else is one file, loaded when it is asked for. */
const AT_HAND: Commands = { ...statusCommands, ...execCommands };

/** Commands whose exit code is that of the run they follow. */
const FOLLOWERS = new Set(['exec', 'jobs attach', 'jobs wait']);

/** Carries out one command line. @returns the exit code. */
export const main = async (argv: readonly string[], io: Io): Promise<number> => {
  let invocation: Invocation | undefined;
  let out = outputFor(io, { json: looksLikeJson(argv), colour: true });
  try {
    invocation = parseCommandLine(argv);
    out = outputFor(io, { json: invocation.has('json'), colour: !invocation.has('no-color') });
    if (invocation.has('version')) return showVersion(out);
    if (invocation.has('help')) return await showHelp(invocation, out);
    const command = await load(invocation);
    return await command(cliFor(invocation, io, out));
  } catch (thrown) {
    const error = asError(thrown);
    const follower = FOLLOWERS.has(invocation?.spec?.path ?? '');
    showError(error, out, follower);
    return follower && error.exit === EXIT.failed ? EXIT.usage : error.exit;
  }
};

const outputFor = (io: Io, { json, colour }: { json: boolean; colour: boolean }): Output =>
  createOutput(io, { json, colour: colour && wantsColour(io.stdout, io.env) });

/** Where a line can't be understood, --json is still honoured. */
const looksLikeJson = (argv: readonly string[]): boolean =>
  argv.slice(0, argv.indexOf('--') + 1 || undefined).includes('--json');

const load = async ({ spec }: Invocation): Promise<Command> => {
  const path = spec?.path ?? 'overview';
  const command = AT_HAND[path] ?? (await import('./commands/rest.ts')).commands[path];
  if (command === undefined) throw new LoopsyError('internal', { message: `the command ${path} has no code` });
  return command;
};

const cliFor = (invocation: Invocation, io: Io, out: Output): Cli => {
  const paths = nodePaths(resolveDataDir(invocation.value('data-dir'), io), io.platform);
  return {
    invocation,
    io,
    out,
    paths,
    node: async () => {
      const registration = readRegistration(paths);
      if (registration === undefined) throw notRunning(paths.config);
      const node = await connectNode({ registration, apiKey: io.env['LOOPSY_API_KEY'] || undefined, note: out.note });
      const skew = versionNote(node.health.version);
      if (skew !== undefined && !invocation.has('quiet')) out.note(skew);
      return node;
    },
  };
};

const notRunning = (config: string): LoopsyError =>
  existsSync(config)
    ? new LoopsyError('node_not_running')
    : new LoopsyError('node_not_running', {
        message: 'loopsy is not set up here yet',
        hint: '`loopsy up` sets it up and starts it',
      });

const showVersion = (out: Output): number => {
  if (out.json) out.document({ version: VERSION });
  out.print(VERSION);
  return EXIT.ok;
};

const showHelp = async ({ spec, group }: Invocation, out: Output): Promise<number> => {
  const { commandHelp, groupHelp, overallHelp } = await import('./commands/rest.ts');
  const lines =
    spec !== undefined
      ? commandHelp(spec, out.paint)
      : group !== undefined
        ? groupHelp(group, out.paint)
        : overallHelp(out.paint);
  if (out.json) out.document({ help: lines });
  out.print(...lines);
  return EXIT.ok;
};

/** For people on stderr, and in one line where another machine's stderr is mixed in; for programs on stdout. */
const showError = (error: LoopsyError, out: Output, oneLine: boolean): void => {
  if (out.json) return out.document(error.toBody());
  if (!oneLine) return errorLines(error.toBody(), out.paint).forEach((line) => out.note(line));
  return out.note(`loopsy: ${plain(error.message)}${error.hint === undefined ? '' : ` (${plain(error.hint)})`}`);
};
