import { existsSync } from 'node:fs';

import { isInside } from './data-folder.ts';
import type { Config } from './schema.ts';

/**
 * Where systems and programs keep secrets, below the home folder: what `transfer.deniedPaths` holds at first, with the
 * data folder. Those that are not there do no harm.
 */
export const SECRET_PATHS: readonly string[] = [
  '~/.ssh',
  '~/.gnupg',
  '~/.aws',
  '~/.azure',
  '~/.config/gcloud',
  '~/.config/gh',
  '~/.config/op',
  '~/.docker',
  '~/.kube',
  '~/.password-store',
  '~/.local/share/keyrings',
  '~/.git-credentials',
  '~/.netrc',
  '~/.npmrc',
  '~/.pypirc',
  '~/.pgpass',
  '~/.claude.json',
  '~/.claude/.credentials.json',
  '~/.codex/auth.json',
  '~/.gemini/oauth_creds.json',
  '~/.local/share/opencode/auth.json',
  '~/.mozilla',
  '~/.config/google-chrome',
  '~/.config/chromium',
  '~/Library/Keychains',
  '~/Library/Cookies',
  '~/Library/Application Support/Google/Chrome',
  '~/Library/Application Support/Firefox',
  '~/AppData/Roaming/Microsoft/Credentials',
  '~/AppData/Roaming/Microsoft/Protect',
  '~/AppData/Local/Microsoft/Credentials',
  '~/AppData/Local/Google/Chrome/User Data',
  '~/AppData/Local/Microsoft/Edge/User Data',
  '~/AppData/Roaming/Mozilla/Firefox',
];

const MAX_NAMED = 3;

/**
 * What a person's own `transfer.deniedPaths` leaves open: places of secrets that are there, in an allowed folder.
 * `expand` makes a path of one that begins with `~`.
 * @returns a warning that says what to write; undefined where nothing is left open.
 */
export const secretsWarning = (
  { allowedPaths, deniedPaths }: Config['transfer'],
  expand: (path: string) => string,
): string | undefined => {
  const open = SECRET_PATHS.filter((secret) => {
    const path = expand(secret);
    const isIn = (folder: string): boolean => isInside(path, folder);
    return allowedPaths.some(isIn) && !deniedPaths.some(isIn) && existsSync(path);
  });
  if (open.length === 0) return undefined;
  const more = open.length > MAX_NAMED ? ` and ${open.length - MAX_NAMED} more` : '';
  const named = `${open.slice(0, MAX_NAMED).join(', ')}${more}`;
  const list = open.map((path) => JSON.stringify(path)).join(', ');
  return `transfer.deniedPaths takes the place of the usual list: transfers may read and write ${named}; add what is secret: [${list}]`;
};
