import { isAbsolute, resolve } from 'node:path';

import type { Grant, GrantInput } from '../protocol/grants.ts';
import type { Level } from '../protocol/scopes.ts';
import type { Cli } from './cli.ts';
import { localTime } from './output.ts';
import { usageError } from './parse.ts';
import { parseSpan } from './values.ts';

/** `--folder`, `--expires` and `--reach` with a level, as operations take them. */
export const grantOptions = ({ invocation, io }: Cli, level: Level): GrantInput => {
  const folders = invocation.values('folder').map((folder) => absolute(folder, io.cwd));
  const expires = invocation.value('expires');
  const reach = invocation.values('reach');
  return {
    level,
    ...(folders.length === 0 ? {} : { folders }),
    ...(expires === undefined ? {} : { expires: parseSpan(expires, 'expires') }),
    ...(reach.length === 0 ? {} : { reach: reachOf(reach) }),
  };
};

/** The node knows its own home; anything else is meant from here. */
const absolute = (folder: string, cwd: string): string =>
  isAbsolute(folder) || /^~($|[\\/])/.test(folder) ? folder : resolve(cwd, folder);

const reachOf = (names: readonly string[]): 'all' | string[] => {
  if (!names.includes('all') && !names.includes('none')) return [...names];
  if (names.length > 1) throw usageError(`--reach ${names.join(' --reach ')} contradicts itself`);
  return names[0] === 'all' ? 'all' : [];
};

/** What a grant allows, in a few words: `may everything (full), until 2026-12-20 09:00`. */
export const describeGrant = ({ level, scopes, folders, expiresAt, reach }: Grant): string => {
  if (scopes.length === 0) return 'may do nothing here';
  return [
    {
      observe: 'may look (observe)',
      collaborate: 'may collaborate',
      full: 'may do anything that you can do here (full)',
    }[level],
    ...(folders === undefined || folders.length === 0 ? [] : [`in ${folders.join(', ')}`]),
    ...(expiresAt === undefined ? [] : [`until ${localTime(expiresAt)}`]),
    ...(reach === 'all' || reach.length === 0 ? [] : [`reaches ${reach.join(', ')}`]),
  ].join(', ');
};
