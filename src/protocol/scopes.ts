/** What a caller may be allowed to do. `admin` does not exist as a scope: it is the owner's and can't be granted. */
export const SCOPES = [
  'status',
  'context:read',
  'context:write',
  'messages',
  'files:read',
  'files:write',
  'tasks',
  'tasks:approve',
  'exec',
  'terminal',
  'wake',
] as const;

/** One scope. */
export type Scope = (typeof SCOPES)[number];

/** The three honest levels of trust, weakest first. */
export const LEVELS = ['observe', 'collaborate', 'full'] as const;

/** One level. */
export type Level = (typeof LEVELS)[number];

const OBSERVE = ['status', 'context:read', 'files:read'] as const satisfies readonly Scope[];
const COLLABORATE = [
  ...OBSERVE,
  'context:write',
  'messages',
  'files:write',
  'tasks',
] as const satisfies readonly Scope[];

/** The scopes of each level. */
export const LEVEL_SCOPES: Readonly<Record<Level, readonly Scope[]>> = {
  observe: OBSERVE,
  collaborate: COLLABORATE,
  full: SCOPES,
};

/** What a scope lets its holder do, behind "may"; undefined where it lets it do anything. */
const WORDS: Readonly<Record<Scope, string | undefined>> = {
  status: 'see the state of this node',
  'context:read': 'read its shared context',
  messages: 'send messages',
  'files:read': 'read files in FOLDERS',
  'context:write': 'write its shared context',
  'files:write': 'write files in FOLDERS (what it changes may run when you build)',
  tasks: 'run tasks in the folders you list',
  'tasks:approve': undefined,
  exec: undefined,
  terminal: undefined,
  wake: undefined,
};

const joined = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;

/** What describes a level before it is granted. */
export interface LevelFacts {
  /** Who runs this node. */
  readonly user: string;
  /** Every scope (and more) that an operation of this version asks for: what is not there yet is not promised. */
  readonly inUse: ReadonlySet<string>;
  /** What the person lists with it. */
  readonly folders?: readonly string[] | undefined;
}

const folderWords = (folders: readonly string[] = []): string =>
  folders.length === 0 ? 'the folders you list' : joined(folders);

/** What a level means today, for the moment before a yes: `may …`. */
export const describeLevel = (level: Level, { user, inUse, folders }: LevelFacts): string => {
  if (level === 'full') return `may run any command as ${user}: it can do anything that you can do here`;
  const scopes = LEVEL_SCOPES[level];
  const words = scopes
    .filter((scope) => inUse.has(scope))
    .flatMap((scope) => WORDS[scope]?.replace('FOLDERS', folderWords(folders)) ?? []);
  const usesFiles = scopes.some((scope) => inUse.has(scope) && WORDS[scope]?.includes('FOLDERS') === true);
  const none = usesFiles && (folders ?? []).length === 0 ? '; you list none (--folder lists one)' : '';
  const more = scopes.some((scope) => !inUse.has(scope)) ? '; more of this level comes with later versions' : '';
  return `may ${words.length === 0 ? 'do nothing yet' : joined(words)}${none}${more}`;
};

/** What describes a grant: `Grant`, without its schema. */
interface GrantFacts {
  readonly level: Level;
  readonly scopes: readonly Scope[];
  readonly folders?: readonly string[] | undefined;
  readonly expiresAt?: number | undefined;
  readonly reach: 'all' | readonly string[];
  /** True where it is over. */
  readonly expired?: boolean | undefined;
}

const describeScopes = (level: Level, scopes: readonly Scope[]): string => {
  // Whoever holds one scope that only full has can do anything: fewer words would be a lie.
  if (scopes.some((scope) => WORDS[scope] === undefined)) return 'may do anything that you can do here (full)';
  if (scopes.length < LEVEL_SCOPES[level].length) return `may use only ${scopes.join(', ')}`;
  return level === 'observe' ? 'may look (observe)' : 'may collaborate';
};

/** What is left of a grant that is over: `nothing any more (full, ended …)`. */
export const describeEnded = ({ level, expiresAt = 0 }: GrantFacts, timeText: (ms: number) => string): string =>
  `nothing any more (${level}, ended ${timeText(expiresAt)})`;

/** Scopes that hold in folders, below full. */
const IN_FOLDERS: readonly Scope[] = ['files:read', 'files:write', 'tasks'];

/** Below full what is not listed is closed. */
const shownFolders = (level: Level, folders: readonly string[] = []): string[] => {
  if (level === 'full') return [];
  return [folders.length === 0 ? 'in no folder' : `in ${folders.join(', ')}`];
};

/** A grant in a few words, for lists: `may look (observe), in /srv, until …`. `timeText` writes ms since 1970. */
export const describeGrant = (grant: GrantFacts, timeText: (ms: number) => string): string => {
  const { level, folders, expiresAt, reach } = grant;
  if (grant.expired === true) return `may do ${describeEnded(grant, timeText)}`;
  // Both must hold, as where it is decided.
  const scopes = LEVEL_SCOPES[level].filter((scope) => grant.scopes.includes(scope));
  if (scopes.length === 0) return 'may do nothing here';
  const peers = reach === 'all' ? 'every peer' : reach.join(', ');
  return [
    describeScopes(level, scopes),
    ...(scopes.some((scope) => IN_FOLDERS.includes(scope)) ? shownFolders(level, folders) : []),
    ...(expiresAt === undefined ? [] : [`until ${timeText(expiresAt)}`]),
    ...(peers === '' ? [] : [`reaches ${peers}`]),
  ].join(', ');
};
