import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';

import type { Imported } from '../../config/import.ts';
import { writeInitialConfig } from '../../config/initial-config.ts';
import { buildNodeEnvironment } from '../../config/node-environment.ts';
import { findNodeProgram } from '../../config/start-node.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { errorFromBody, EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { ROOT_NOTE } from '../local-checks.ts';
import { count, grouped, plain, type Paint } from '../output.ts';
import { usageError } from '../parse.ts';

const INIT_MS = 30_000;

/** Who this machine is from now on, and what was taken over of a predecessor's settings. */
interface MadeIdentity {
  readonly nodeId: string;
  readonly fingerprint: string;
  readonly imported?: Imported;
}

/** A machine that is set up. */
interface SetUp extends MadeIdentity {
  readonly dataDir: string;
  readonly config: string;
  /** False where it was set up before. */
  readonly created: boolean;
}

const init: Command = async (cli) => {
  const { out } = cli;
  const made = cli.invocation.has('import') ? await setUpFromPredecessor(cli) : await setUp(cli);
  if (out.json) out.document(made);
  out.print(
    made.created
      ? `${out.paint.green('✓')} Set up in ${plain(made.dataDir)}.`
      : `${out.paint.green('✓')} Was set up already in ${plain(made.dataDir)}; nothing was changed.`,
    `  node         ${made.nodeId}`,
    `  fingerprint  ${grouped(made.fingerprint)}`,
    ...(made.imported === undefined ? [] : importedLines(made.imported, out.paint)),
  );
  sayRoot(cli);
  out.print('', 'Next: `loopsy start`.');
  return EXIT.ok;
};

/** Writes config and identity; what is there already is kept. */
export const setUp = async (cli: Cli): Promise<SetUp> => {
  const { config, dataDir } = cli.paths;
  const created = await writeConfig(cli);
  return { dataDir, config, created, ...(await makeIdentity(cli)) };
};

const setUpFromPredecessor = async (cli: Cli): Promise<SetUp> => {
  const { config, dataDir } = cli.paths;
  const made = await makeIdentity(cli, ['--import']);
  return { dataDir, config, created: made.imported !== undefined, ...made };
};

/** Root is told so, and not refused. */
export const sayRoot = ({ io, out }: Cli): void => {
  if (io.uid === 0) out.note(`! ${ROOT_NOTE}`);
};

const importedLines = ({ backup, aside, taken, left }: Imported, paint: Paint): string[] => [
  '',
  `Of the settings of loopsy 1 ${count(taken.length, 'key')} ${taken.length === 1 ? 'was' : 'were'} taken over${taken.length === 0 ? '.' : ':'}`,
  ...taken.map((key) => `  ${paint.green('✓')} ${plain(key)}`),
  ...(left.length === 0
    ? []
    : ['Not taken over:', ...left.map(({ key, reason }) => `  - ${plain(key)}: ${plain(reason)}`)]),
  `The old file is kept as ${plain(backup)}; it holds the old keys.`,
  ...aside.map((path) => `Kept beside it, and not used: ${plain(path)}`),
];

/** False where there was a config: it is kept as it is. */
const writeConfig = async ({ io, paths }: Cli): Promise<boolean> => {
  const port = portOf(io.env['LOOPSY_PORT']);
  try {
    await writeInitialConfig(
      paths,
      { apiKey: randomBytes(32).toString('hex'), ...(port === undefined ? {} : { port }) },
      io.clock,
    );
    return true;
  } catch (thrown) {
    if (thrown instanceof LoopsyError && thrown.error === 'conflict') return false;
    throw thrown;
  }
};

const portOf = (text: string | undefined): number | undefined => {
  if (text === undefined || text === '') return undefined;
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw usageError(`LOOPSY_PORT is "${text}", which is no port`, 'a port is a number from 1 to 65535');
};

/** The identity is made by the node's own program, so that this one never sees a private key. */
const makeIdentity = async ({ io, paths }: Cli, more: readonly string[] = []): Promise<MadeIdentity> => {
  const { failed, stdout, stderr } = await run([findNodeProgram(), '--init', '--data-dir', paths.dataDir, ...more], {
    ...buildNodeEnvironment(io.env),
    LOOPSY_DATA_DIR: paths.dataDir,
  });
  const answer = lastDocument(stdout);
  const error = errorFromBody(answer) ?? errorFromBody(lastDocument(stderr));
  if (error !== undefined) throw error;
  if (!failed && isIdentity(answer)) return answer;
  throw new LoopsyError('internal', {
    message: 'the identity could not be made; what was said last:',
    details: { said: stderr.trim().split('\n').slice(-5) },
  });
};

const run = (args: readonly string[], env: Record<string, string>) =>
  new Promise<{ failed: boolean; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, args, { env, timeout: INIT_MS, windowsHide: true }, (error, stdout, stderr) => {
      resolve({ failed: error !== null, stdout, stderr: stderr === '' && error !== null ? error.message : stderr });
    });
  });

/** The JSON document in the last line that holds one. */
const lastDocument = (text: string): unknown => {
  const line = text
    .trim()
    .split('\n')
    .findLast((one) => one.startsWith('{'));
  return line === undefined ? undefined : parseJson(line);
};

const isIdentity = (value: unknown): value is MadeIdentity =>
  typeof value === 'object' &&
  value !== null &&
  'nodeId' in value &&
  'fingerprint' in value &&
  typeof value.nodeId === 'string' &&
  typeof value.fingerprint === 'string';

export const commands: Commands = { init };
