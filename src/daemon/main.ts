import { homedir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';

import { importPredecessor, type Imported } from '../config/import.ts';
import { loadConfig } from '../config/load.ts';
import { nodePaths, resolveDataDir, type NodePaths } from '../config/paths.ts';
import { reportStart } from '../config/start-report.ts';
import { makeMissingBytecode, readCompiled } from '../kernel/bytecode.ts';
import { systemClock } from '../kernel/clock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { createIdentity } from '../trust/identity.ts';
import { newToken } from '../trust/tokens.ts';
import { fail, runNode } from './run-node.ts';

/** Behind what a start is followed by. */
const BYTECODE_AFTER_MS = 3000;

const OPTIONS = {
  'data-dir': { type: 'string' },
  init: { type: 'boolean' },
  import: { type: 'boolean' },
  foreground: { type: 'boolean' },
  lan: { type: 'boolean' },
  'local-only': { type: 'boolean' },
} as const;

const placesOf = (dataDir: string | undefined): NodePaths => {
  const { env, platform } = process;
  return nodePaths(resolveDataDir(dataDir, { env, home: homedir(), cwd: process.cwd(), platform }), platform);
};

const portOf = (text: string | undefined): number | undefined => {
  if (text === undefined || text === '') return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new LoopsyError('config_invalid', { message: `LOOPSY_PORT is "${text}", which is no port` });
};

/**
 * Makes the identity of this machine, or shows the one that is there, where its config can be used; `takesOver` the
 * predecessor's settings first.
 */
const initialise = async (paths: NodePaths, takesOver: boolean): Promise<void> => {
  try {
    const imported = takesOver ? await importSettings(paths) : undefined;
    await loadConfig({ paths });
    const { nodeId, fingerprint } = await createIdentity(paths.tlsDir);
    process.stdout.write(`${JSON.stringify({ nodeId, fingerprint, imported })}\n`);
  } catch (error) {
    const known = fail(error);
    process.stdout.write(`${JSON.stringify(known.toBody())}\n`);
    process.exitCode = known.exit;
  }
};

const importSettings = (paths: NodePaths): Promise<Imported | undefined> => {
  const port = portOf(process.env['LOOPSY_PORT']);
  return importPredecessor({
    source: { paths, ...(port === undefined ? {} : { port }) },
    apiKey: newToken(),
    clock: systemClock,
  });
};

const main = async (): Promise<void> => {
  const { values } = parseArgs({ options: OPTIONS });
  const paths = placesOf(values['data-dir']);
  if (values.init === true) return initialise(paths, values.import === true);
  const port = portOf(process.env['LOOPSY_PORT']);
  const stop = await runNode({
    paths,
    clock: systemClock,
    // The file that was run, not the one that this became part of.
    program: process.argv[1] ?? '',
    foreground: values.foreground ?? false,
    ...(port === undefined ? {} : { port }),
    ...(values['local-only'] === true
      ? { reach: 'local-only' as const }
      : values.lan === true
        ? { reach: 'lan' as const }
        : {}),
    shell: shellOf(),
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void stop());
  setTimeout(() => void makeBytecode(), BYTECODE_AFTER_MS).unref();
};

/** For the next start, where this Node is not the one that built loopsy: they begin faster. */
const makeBytecode = async (): Promise<void> => {
  const dist = join(dirname(process.argv[1] ?? ''), '..');
  // An installation that belongs to somebody else stays as it is.
  await makeMissingBytecode(dist, await readCompiled(dist)).catch(() => 0);
};

/** The user's login shell, where the system knows it. */
const shellOf = (): string | undefined => {
  try {
    return userInfo().shell ?? process.env['SHELL'];
  } catch {
    // A user without an entry, as in some containers.
    return process.env['SHELL'];
  }
};

main().catch((error: unknown) => {
  const known = fail(error);
  process.exitCode = known.exit;
  // Whoever started it says it, and may know more.
  if (reportStart(known.toBody())) return;
  process.stderr.write(`loopsy: ${known.message}${known.hint === undefined ? '' : `\n  ${known.hint}`}\n`);
});
