/**
 * Names of files and folders that programs run, or obey, by themselves: hooks, settings of agents and editors,
 * environment files. Whoever writes one runs commands, so that below the level *full* nobody does.
 */
const RUNNING = [
  '.git',
  '.claude',
  '.mcp.json',
  '.codex',
  '.gemini',
  '.cursor',
  '.vscode',
  '.envrc',
  '.husky',
  '.devcontainer',
  // What shells, logins and tools of every day read in a home folder.
  '.bashrc',
  '.bash_profile',
  '.bash_login',
  '.bash_logout',
  '.bash_aliases',
  '.profile',
  '.zshrc',
  '.zshenv',
  '.zprofile',
  '.zlogin',
  '.zlogout',
  '.config',
  '.local',
  '.gitconfig',
  '.npmrc',
  '.ssh',
  '.vimrc',
  'launchagents',
  'start menu',
] as const;

const NAMES: ReadonlySet<string> = new Set(RUNNING);
/** The short names that Windows gives them: `.claude` → `CLAUDE~1`, `.mcp.json` → `MCP~1.JSO`. */
const SHORT = RUNNING.map((name) => (name.replace('.', '').split('.')[0] ?? '').replace(' ', '').slice(0, 6));

/** Longer than any name, whatever is ignored in it. */
const MAX_LENGTH = 1024;

const MAYBE = /[.~]|launchagents|start menu|[^\x20-\x7e]/i;

/** Dots and blanks at the end mean nothing on Windows. */
const withoutEnd = (name: string): string => {
  let end = name.length;
  while (end > 0 && (name[end - 1] === '.' || name[end - 1] === ' ')) end -= 1;
  return name.slice(0, end);
};

/**
 * True where a file system could take `name` for one of those: in any case, in other forms of the same letters, with
 * characters that are ignored, with dots, blanks or a stream behind it, or as a short name.
 */
const mayRun = (name: string): boolean => {
  // Most names have nothing of it.
  if (!MAYBE.test(name)) return false;
  // No file system has longer ones, and what is ignored in one is short.
  if (name.length > MAX_LENGTH) return false;
  const folded = name
    .normalize('NFKC')
    .replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toUpperCase()
    .toLowerCase();
  const plain = withoutEnd(folded.split(':', 1).join(''));
  if (NAMES.has(plain)) return true;
  const [, short, number = ''] = /^([^~]{1,6})~(\d+)/.exec(plain) ?? [];
  if (short === undefined) return false;
  // A longer number takes letters away; what has many namesakes gets two letters and a hash.
  return SHORT.some((name) => short === name.slice(0, 7 - number.length)) || /^[a-z]{2}[0-9a-f]{2,4}$/.test(short);
};

/** The first name in a path that programs run by themselves; undefined where there is none. */
export const runningNameIn = (path: string): string | undefined => {
  if (!MAYBE.test(path)) return undefined;
  return path.split(/[\\/]/).find(mayRun);
};
