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

/** What a level means, in the words that prompts and pages use. `user` is the user who runs this node. */
export const describeLevel = (level: Level, user: string): string => {
  switch (level) {
    case 'observe':
      return 'may see the state of this node, read its shared context, and read files in the folders you list';
    case 'collaborate':
      return 'may also write shared context, send messages, write files in the folders you list, and run tasks there';
    case 'full':
      return `may run any command as ${user}: it can do anything that you can do here`;
  }
};
