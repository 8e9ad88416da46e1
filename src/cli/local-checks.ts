import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { foreignOwner } from '../kernel/file-owner.ts';
import type { Check } from '../protocol/system.ts';
import type { Cli } from './cli.ts';
import { asError, count } from './output.ts';

const MAX_ENTRIES = 5000;

/** A check that found nothing wrong. */
export const passed = (name: string, detail: string): Check => ({ name, ok: true, level: 'ok', detail });

const failed = (name: string, detail: string, fix: string): Check => ({ name, ok: false, level: 'error', detail, fix });

/** Is there a config? What is in it, the node checks. */
export const checkConfig = ({ paths }: Cli): Check => {
  try {
    const found = lstatSync(paths.config, { throwIfNoEntry: false });
    if (found !== undefined) return passed('config', paths.config);
  } catch (thrown) {
    const { message, hint = '' } = asError(thrown);
    return failed('config', message, hint);
  }
  return failed('config', `there is no ${paths.config}`, '`loopsy init` writes it');
};

/** What it means to run as root, said plainly. */
export const ROOT_NOTE = 'this is root: whoever is granted full can do anything on this machine';

/** As whom does it run? */
export const checkUser = ({ io }: Cli): Check =>
  io.uid === 0
    ? {
        name: 'user',
        ok: true,
        level: 'warning',
        detail: ROOT_NOTE,
        fix: 'run loopsy as an ordinary user where you can',
      }
    : passed('user', 'an ordinary user');

/** Can others read the node's data? Windows keeps a home folder private by its own lists. */
export const checkModes = ({ io, paths }: Cli, fix: boolean): Check[] => {
  if (io.platform === 'win32' || lstatSync(paths.dataDir, { throwIfNoEntry: false }) === undefined) return [];
  const owner = foreignOwner(paths.dataDir);
  if (owner !== undefined) return [failed('files', `${paths.dataDir} belongs to ${owner}`, `run it as ${owner}`)];
  const open = openEntries(paths.dataDir);
  if (open.length === 0) return [passed('files', 'nobody else can read the data folder')];
  if (fix) {
    for (const { path, mode } of open) chmodSync(path, mode & 0o700);
    return [passed('files', `closed ${count(open.length, 'file')} to other users`)];
  }
  const [first] = open;
  const detail = `other users can get at ${count(open.length, 'file')}, e.g. ${first?.path ?? ''}`;
  return [failed('files', detail, '`loopsy doctor --fix` closes them')];
};

interface Entry {
  readonly path: string;
  readonly mode: number;
}

/** Files and folders, this one included, that others may read, write or enter. Links are not followed. */
const openEntries = (dir: string): Entry[] => {
  const found: Entry[] = [];
  const queue = [dir];
  for (let seen = 0; queue.length > 0 && seen < MAX_ENTRIES; seen += 1) {
    const path = queue.pop() ?? dir;
    const facts = lstatSync(path, { throwIfNoEntry: false });
    if (facts === undefined || facts.isSymbolicLink()) continue;
    if ((facts.mode & 0o077) !== 0) found.push({ path, mode: facts.mode });
    if (facts.isDirectory()) queue.push(...namesIn(path).map((name) => join(path, name)));
  }
  return found;
};

const namesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir);
  } catch (thrown) {
    // It went away meanwhile, or is closed even to us: nothing in it is open to others.
    if (thrown instanceof Error && 'code' in thrown) return [];
    throw thrown;
  }
};
