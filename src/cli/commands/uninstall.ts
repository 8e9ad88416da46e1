import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { pagesOf } from '../../client/pages.ts';
import { inspectDataFolder, removeDataFolder, type DataFolder } from '../../config/data-folder.ts';
import { findNodeProgram } from '../../config/start-node.ts';
import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import { parseFields } from '../../protocol/record.ts';
import { askPerson } from '../ask.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { asError, count, plain } from '../output.ts';
import { usageError } from '../parse.ts';
import { bringUp, findRunning } from '../start.ts';
import { takeDown } from './node.ts';

const uninstall: Command = async (cli) => {
  const { invocation, io, out, paths } = cli;
  const found = await inspectDataFolder(paths, io.home);
  if (found === undefined) {
    out.print(`There is no ${plain(paths.dataDir)}: nothing of loopsy is left there.`);
    return show(cli, { folder: { own: [], foreign: [] }, stopped: undefined });
  }
  const node = await findRunning(cli);
  await announce(cli, found, node);
  if (!invocation.has('yes') && !(await isConfirmed(cli))) return left(cli);
  const removed = await removeAll(cli, found, node);
  out.print(`${out.paint.green('✓')} Removed.`);
  if (removed.folder.foreign.length > 0) out.print(`  ${plain(paths.dataDir)} stays, with what is not loopsy's.`);
  return show(cli, removed);
};

/** What was done. */
interface Removed {
  readonly folder: DataFolder;
  /** The pid of the node that was stopped. */
  readonly stopped: number | undefined;
}

const show = ({ out, paths }: Cli, { folder, stopped }: Removed): number => {
  const hint = packageHint();
  const { own: removed, foreign } = folder;
  if (out.json)
    out.document({ dataDir: paths.dataDir, removed, left: foreign, stopped: stopped ?? null, package: hint });
  out.print('', hint);
  return EXIT.ok;
};

const announce = async (
  { out, paths }: Cli,
  { own, foreign }: DataFolder,
  node: LocalNode | undefined,
): Promise<void> => {
  const status = await node?.client.call('system.status', {});
  const peers = status?.peers.total ?? 0;
  out.print(
    'This will be removed:',
    ...(status === undefined
      ? []
      : [`  the running node (pid ${status.pid}), with ${count(status.jobs.active, 'run')} of commands`]),
    `  ${plain(paths.dataDir)}: this machine's identity and keys, whom it trusts, settings, logs, output of runs`,
    `    (${own.map(plain).join(', ') || 'empty'})`,
    ...(foreign.length === 0 ? [] : [`Not loopsy's, so it stays: ${foreign.map(plain).join(', ')}`]),
    ...(peers === 0
      ? []
      : ['', `${count(peers, 'peer')} will still list this machine: \`loopsy peers remove\` there takes it off.`]),
    '',
  );
};

const isConfirmed = async (cli: Cli): Promise<boolean> => {
  const ask = cli.out.json ? undefined : await askPerson(cli.io);
  if (ask === undefined)
    throw usageError(
      '`loopsy uninstall` asks before it removes, and nobody can answer here',
      'in a script: `loopsy uninstall --yes`',
    );
  return (await ask.confirm('Remove all of this? It can not be brought back.')) === true;
};

const left = ({ out }: Cli): number => {
  out.print('Nothing was changed.');
  return EXIT.failed;
};

const removeAll = async (cli: Cli, found: DataFolder, running: LocalNode | undefined): Promise<Removed> => {
  const node = running ?? (await wakeForRuns(cli));
  if (node !== undefined) await endRuns(node);
  const stopped = node === undefined ? undefined : (await takeDown(cli, node)).pid;
  // What the node wrote while it stopped goes too.
  const folder = (await inspectDataFolder(cli.paths, cli.io.home)) ?? found;
  await removeDataFolder(cli.paths, folder);
  return { folder, stopped };
};

/**
 * Detached runs may go on without a node; only a node can end them. Without the data folder nobody could any more, so
 * that nothing is removed where they can't be ended.
 */
const wakeForRuns = async (cli: Cli): Promise<LocalNode | undefined> => {
  const pids = supervisorsIn(cli.paths.supervisorsDir);
  if (pids.length === 0) return undefined;
  try {
    return (await bringUp(cli, ['--local-only'])).node;
  } catch (thrown) {
    throw new LoopsyError('conflict', {
      message: `detached runs go on, and no node starts that could end them: ${plain(asError(thrown).message)}`,
      hint: `nothing was removed; mend that, or end process ${pids.join(', ')} and say it again`,
      cause: thrown,
    });
  }
};

/** The processes that detached runs have, or had. */
const supervisorsIn = (dir: string): number[] => {
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => /^[0-9a-f]{16}\.json$/.test(name)) : [];
  return names.map((name) => Number(parseFields(readFileSync(join(dir, name), 'utf8'))?.['pid'])).filter(isThere);
};

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    // It has ended, and so has what it had.
    return false;
  }
};

/** Those that are detached would outlive the node. */
const endRuns = async ({ client }: LocalNode): Promise<void> => {
  const end = (jobId: string): Promise<unknown> =>
    client.call('job.cancel', { jobId }).catch((thrown: unknown) => {
      // It has ended meanwhile.
      if (!(thrown instanceof LoopsyError) || thrown.error !== 'job_not_found') throw thrown;
    });
  for await (const { jobs } of pagesOf(client, 'job.list', { input: { state: 'active' } }))
    await Promise.all(jobs.map(({ jobId }) => end(jobId)));
};

/** How the command itself goes. */
const packageHint = (): string => {
  const program = findNodeProgram();
  return /[\\/]node_modules[\\/]loopsy[\\/]/.test(program)
    ? 'The command itself: `npm uninstall -g loopsy` removes it.'
    : `The command itself runs from ${plain(dirname(dirname(dirname(program))))}: delete its folder.`;
};

export const commands: Commands = { uninstall };
