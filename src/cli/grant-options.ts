import { isAbsolute, resolve } from 'node:path';

import { ROUTES } from '../client/routes.ts';
import { foldersMisplaced } from '../protocol/folders.ts';
import type { GrantInput } from '../protocol/grants.ts';
import { describeLevel, type Level } from '../protocol/scopes.ts';
import type { Cli } from './cli.ts';
import { plain } from './output.ts';
import { usageError } from './parse.ts';
import { parseSpan } from './values.ts';

/** `--folder`, `--expires` and `--reach` with a level, as operations take them. */
export const grantOptions = ({ invocation, io }: Cli, level: Level): GrantInput => {
  const folders = folderOptions({ invocation, io });
  const expires = invocation.value('expires');
  const reach = invocation.values('reach');
  return {
    level,
    ...(folders.length === 0 ? {} : { folders }),
    ...(expires === undefined ? {} : { expires: parseSpan(expires, 'expires') }),
    ...(reach.length === 0 ? {} : { reach: reachOf(reach) }),
  };
};

/** The folders that were listed. */
export const folderOptions = ({ invocation, io }: Pick<Cli, 'invocation' | 'io'>): string[] =>
  invocation.values('folder').map((folder) => absolute(folder, io.cwd));

/** `--grant` and `--folder` beside a yes. */
export const chosenOptions = (
  cli: Pick<Cli, 'invocation' | 'io'>,
  level: Level | undefined,
): { grant?: Level; folders?: string[] } => {
  const folders = folderOptions(cli);
  const chosen = {
    ...(level === undefined ? {} : { grant: level }),
    ...(folders.length === 0 ? {} : { folders }),
  };
  const misplaced = foldersMisplaced(chosen);
  if (misplaced !== undefined)
    throw usageError(`--folder: ${misplaced}`, 'give --grant observe or --grant collaborate with it');
  return chosen;
};

/** The node knows its own home; anything else is meant from here. */
const absolute = (folder: string, cwd: string): string =>
  isAbsolute(folder) || /^~($|[\\/])/.test(folder) ? folder : resolve(cwd, folder);

const reachOf = (names: readonly string[]): 'all' | string[] => {
  if (!names.includes('all') && !names.includes('none')) return [...names];
  if (names.length > 1) throw usageError(`--reach ${names.join(' --reach ')} contradicts itself`);
  return names[0] === 'all' ? 'all' : [];
};

/** What this version's operations ask for: words grow with them. */
const IN_USE: ReadonlySet<string> = new Set(Object.values(ROUTES).map(({ access }) => access));

/** What a level means, said before a yes. `user` runs this node. */
export const levelWords = (level: Level, user: string, folders?: readonly string[]): string =>
  describeLevel(level, { user, inUse: IN_USE, folders: folders?.map(plain) });
