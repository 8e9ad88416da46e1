import { createHash, randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { Transfer, TransferInput } from '../../protocol/transfers.ts';
import { asError, plain, size } from '../output.ts';
import { errorOf } from '../transfer-words.ts';
import { mismatch, shortTime, type Bench, type Finding, type SelftestCheck } from './check.ts';
import { programsOf } from './programs.ts';

const ODD_NAME = 'grüße, 東京 👋.txt';
const BYTES = 65_536;
const BIG_BYTES = 16_777_216;

/** A folder of this name is nobody else's. */
const newName = (): string => `.loopsy-selftest-${randomBytes(4).toString('hex')}`;

/** What Windows does not keep as it is. */
const hasModes = ({ platform, local }: Bench): boolean => platform !== 'win32' && local.platform !== 'win32';

/** A folder goes there and comes back as it was. */
export const files: SelftestCheck = {
  name: 'files',
  run: async (bench) => {
    const { home } = bench.local;
    const [here, there, back] = [path.join(home, newName()), newName(), path.join(home, newName())];
    const tidy = async (): Promise<void> => {
      for (const folder of [here, back]) await rm(folder, { recursive: true, force: true });
      await removeThere(bench, there);
    };
    const finding = await moveBothWays(bench, { here, there, back }).catch(async (thrown: unknown) => {
      // What went wrong first says more.
      await tidy().catch(() => undefined);
      throw thrown;
    });
    await tidy();
    return finding;
  },
};

interface Folders {
  readonly here: string;
  /** Below the home there. */
  readonly there: string;
  readonly back: string;
}

const moveBothWays = async (bench: Bench, { here, there, back }: Folders): Promise<Finding> => {
  const { peer, clock } = bench;
  await makeFolder(here, bench);
  const begun = clock.monotonicMs();
  await move(bench, { to: peer, sources: [here], dest: `~/${there}` });
  await move(bench, { from: peer, sources: [`~/${there}`], dest: back });
  const filesMs = clock.monotonicMs() - begun;
  await compare(bench, here, back);
  const big = path.join(here, 'big.bin');
  await writeFile(big, randomBytes(BIG_BYTES));
  const sent = clock.monotonicMs();
  await move(bench, { to: peer, sources: [big], dest: `~/${there}/big.bin` });
  const bytesPerSecond = Math.round((BIG_BYTES / Math.max(1, clock.monotonicMs() - sent)) * 1000);
  return {
    detail: `a folder there and back in ${shortTime(filesMs)}, identical; ${size(BIG_BYTES)} at ${size(bytesPerSecond)}/s`,
    figures: { filesMs, bytesPerSecond },
  };
};

const makeFolder = async (folder: string, bench: Bench): Promise<void> => {
  await mkdir(path.join(folder, 'sub', 'empty folder'), { recursive: true, mode: 0o700 });
  await writeFile(path.join(folder, 'random.bin'), randomBytes(BYTES));
  await writeFile(path.join(folder, 'empty'), '');
  await writeFile(path.join(folder, 'sub', ODD_NAME), 'loopsy\n');
  await writeFile(path.join(folder, 'tool.sh'), '#!/bin/sh\n');
  if (!hasModes(bench)) return;
  await chmod(path.join(folder, 'tool.sh'), 0o755);
  await symlink('random.bin', path.join(folder, 'link'));
};

/** Moves, and waits for the end. @throws why not everything arrived. */
const move = async ({ client, signal }: Bench, input: TransferInput): Promise<void> => {
  let ended: Transfer | undefined;
  for await (const { event } of client.events('transfer.run', input, { signal })) {
    if (event.type === 'end') ended = event.transfer;
  }
  if (ended === undefined) throw mismatch('the stream ended before the transfer did');
  const [failure] = ended.failures;
  if (failure !== undefined) throw mismatch(`${plain(failure.path)}: ${plain(failure.message)}`);
  const error = errorOf(ended, { here: '' });
  if (error !== undefined) throw error;
};

const compare = async (bench: Bench, sent: string, returned: string): Promise<void> => {
  const [before, after] = [await describeFolder(sent, bench), await describeFolder(returned, bench)];
  const lost = before.find((line) => !after.includes(line));
  const added = after.find((line) => !before.includes(line));
  if (lost === undefined && added === undefined) return;
  throw mismatch(
    `what came back is not what was sent: ${plain(lost ?? 'nothing more')} / ${plain(added ?? 'nothing')}`,
  );
};

/** A line for everything below a folder: name, kind, mode, and what is in it. */
const describeFolder = async (folder: string, bench: Bench): Promise<string[]> => {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const lines = await Promise.all(names.map((name) => describe(folder, name, bench)));
  return lines.toSorted();
};

const describe = async (folder: string, name: string, bench: Bench): Promise<string> => {
  const full = path.join(folder, name);
  // Some systems write the same letters in another way.
  const shown = name.normalize('NFC').replaceAll('\\', '/');
  const facts = await lstat(full);
  if (facts.isDirectory()) return `${shown}/`;
  if (facts.isSymbolicLink()) return `${shown} -> ${await readlink(full)}`;
  const mode = hasModes(bench) ? ` ${(facts.mode & 0o777).toString(8)}` : '';
  const hash = createHash('sha256').update(await readFile(full));
  return `${shown}${mode} ${facts.size} bytes ${hash.digest('hex').slice(0, 12)}`;
};

/** Also when the time is up. @throws where it still lies there, and says where. */
const removeThere = async ({ client, peer, platform }: Bench, folder: string): Promise<void> => {
  const left = (why: string): Error => mismatch(`~/${folder} could not be removed there: ${plain(why)}`);
  const answer = await client
    .call('job.execute', programsOf(platform).remove(folder), { peer })
    .catch((thrown: unknown) => {
      throw left(asError(thrown).message);
    });
  // Where nothing arrived there is nothing to find.
  if (answer.exitCode !== 0 && !/No such file/i.test(answer.stderr)) throw left(answer.stderr.trim());
};
