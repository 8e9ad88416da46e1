import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';

import { writeInitialConfig } from '../../config/initial-config.ts';
import { buildNodeEnvironment } from '../../config/node-environment.ts';
import { findNodeProgram } from '../../config/start-node.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { errorFromBody, EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { ROOT_NOTE } from '../local-checks.ts';
import { grouped, plain } from '../output.ts';
import { usageError } from '../parse.ts';

const INIT_MS = 30_000;

/** Who this machine is from now on. */
interface MadeIdentity {
  readonly nodeId: string;
  readonly fingerprint: string;
}

const init: Command = async (cli) => {
  const { io, out, paths } = cli;
  const created = await writeConfig(cli);
  const { nodeId, fingerprint } = await makeIdentity(cli);
  if (out.json) out.document({ dataDir: paths.dataDir, config: paths.config, created, nodeId, fingerprint });
  out.print(
    created
      ? `${out.paint.green('✓')} Set up in ${plain(paths.dataDir)}.`
      : `${out.paint.green('✓')} Was set up already in ${plain(paths.dataDir)}; nothing was changed.`,
    `  node         ${nodeId}`,
    `  fingerprint  ${grouped(fingerprint)}`,
  );
  if (io.uid === 0) out.note(`! ${ROOT_NOTE}`);
  out.print('', 'Next: `loopsy start`.');
  return EXIT.ok;
};

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
const makeIdentity = async ({ io, paths }: Cli): Promise<MadeIdentity> => {
  const { failed, stdout, stderr } = await run([findNodeProgram(), '--init', '--data-dir', paths.dataDir], {
    ...buildNodeEnvironment(io.env),
    LOOPSY_DATA_DIR: paths.dataDir,
  });
  const answer = lastDocument(stdout);
  const error = errorFromBody(answer) ?? errorFromBody(lastDocument(stderr));
  if (error !== undefined) throw error;
  if (!failed && isIdentity(answer)) return answer;
  throw new LoopsyError('internal', {
    message: `the identity could not be made: ${stderr.trim().split('\n').slice(-5).join('\n')}`,
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
