/** The shells whose lines are read. */
export type Dialect = 'sh' | 'cmd' | 'powershell';

/** What a shell's line is made of. */
export interface DialectRules {
  readonly escape: string;
  readonly blanks: string;
  /** Characters that end a command. */
  readonly separators: string;
  /** Words behind which the next word is a command again. */
  readonly leading: ReadonlySet<string>;
  /** Words whose command holds names and values up to the next separator. */
  readonly plain: ReadonlySet<string>;
}

/** How each shell reads. */
export const RULES: Readonly<Record<Dialect, DialectRules>> = {
  sh: {
    escape: '\\',
    blanks: ' \t\r',
    separators: ';&|()',
    leading: new Set([
      'if',
      'then',
      'else',
      'elif',
      'do',
      'while',
      'until',
      '!',
      'coproc',
      '{',
      '}',
      'done',
      'fi',
      'esac',
    ]),
    plain: new Set(['for', 'select', 'function', 'case']),
  },
  cmd: {
    escape: '^',
    blanks: ' \t\r,;=',
    separators: '&|()',
    leading: new Set(['call', 'else', 'do', '@']),
    plain: new Set(),
  },
  powershell: {
    escape: '`',
    blanks: ' \t\r',
    separators: ';&|(){}',
    leading: new Set(['.', 'return', '=']),
    plain: new Set(['function']),
  },
};

const ANSI_ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  e: '\u001b',
  a: '\u0007',
  b: '\b',
  f: '\f',
  v: '\v',
};

const ESCAPE = /\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|([0-7]{1,3})|([\s\S]))/g;

/** The text that the inside of `$'…'` spells. */
export const decodeAnsi = (body: string): string =>
  body.replaceAll(ESCAPE, (_all, ...groups: (string | undefined)[]) => {
    const [hex, code, octal, char] = groups;
    if (char !== undefined) return ANSI_ESCAPES[char] ?? char;
    const digits = octal ?? hex ?? code ?? '0';
    return String.fromCodePoint(Number.parseInt(digits, octal === undefined ? 16 : 8));
  });
