/** How a program that runs another one takes its arguments, from its manual. */
export interface Wrapper {
  /** Short options that take a value, which may be the next word. */
  readonly values?: string;
  /** Long options that take a value, which may be the next word; abbreviations count. */
  readonly long?: readonly string[];
  /** Words of its own before the command, e.g. the time of `timeout`. */
  readonly own?: number;
  /** True where `NAME=value` may stand before the command. */
  readonly assignments?: boolean;
  /** True where the words are joined and handed to a shell. */
  readonly line?: boolean;
  /** Options whose value is a line for a shell. */
  readonly lineOptions?: readonly string[];
  /** Short options with which it only tells about a program. */
  readonly queries?: string;
}

/** One option word of a wrapper. */
export interface WrapperOption {
  /** True where its value is the next word. */
  readonly isSeparate: boolean;
  /** The line that it hands to a shell. */
  readonly line?: string;
  readonly isQuery?: boolean;
}

const longOption = (
  word: string,
  { long = [], lineOptions = [] }: Wrapper,
  next: string | undefined,
): WrapperOption => {
  const equals = word.indexOf('=');
  const given = word.slice(2, equals < 0 ? undefined : equals);
  const name = long.find((one) => one.startsWith(given)) ?? given;
  const isSeparate = equals < 0 && long.includes(name);
  const value = equals < 0 ? next : word.slice(equals + 1);
  return lineOptions.includes(name) && value !== undefined ? { isSeparate, line: value } : { isSeparate };
};

/** Reads one option word (`-x`, `-xvalue`, `-ax value`, `--name value`, `--name=value`). */
export const readOption = (word: string, wrapper: Wrapper, next: string | undefined): WrapperOption => {
  if (word.startsWith('--')) return longOption(word, wrapper, next);
  const { values = '', lineOptions = [], queries = '' } = wrapper;
  const letters = word.slice(1).split('');
  if (letters.some((letter) => queries.includes(letter))) return { isSeparate: false, isQuery: true };
  const at = letters.findIndex((letter) => values.includes(letter));
  if (at < 0) return { isSeparate: false };
  const glued = letters.slice(at + 1).join('');
  const value = glued === '' ? next : glued;
  const isLine = lineOptions.includes(letters[at] ?? '') && value !== undefined;
  return { isSeparate: glued === '', ...(isLine ? { line: value } : {}) };
};

const TIMEOUT: Wrapper = { values: 'ks', long: ['kill-after', 'signal'], own: 1 };
const TIME: Wrapper = { values: 'fo', long: ['format', 'output'] };

/** Programs that run what follows them. */
export const WRAPPERS: ReadonlyMap<string, Wrapper> = new Map<string, Wrapper>([
  [
    'sudo',
    {
      values: 'CDghpRrTtUua',
      assignments: true,
      long: [
        'close-from',
        'chdir',
        'group',
        'host',
        'prompt',
        'chroot',
        'role',
        'command-timeout',
        'type',
        'other-user',
        'user',
      ],
    },
  ],
  ['doas', { values: 'aCu' }],
  ['pkexec', { long: ['user'] }],
  [
    'env',
    {
      values: 'uCSP',
      assignments: true,
      long: ['unset', 'chdir', 'split-string', 'argv0'],
      lineOptions: ['S', 'split-string'],
    },
  ],
  ['nice', { values: 'n', long: ['adjustment'] }],
  ['ionice', { values: 'cnpPu', long: ['class', 'classdata', 'pid', 'pgid', 'uid'] }],
  ['chrt', { values: 'TPD', long: ['sched-runtime', 'sched-period', 'sched-deadline'], own: 1 }],
  ['taskset', { own: 1 }],
  ['nohup', {}],
  ['setsid', {}],
  ['time', TIME],
  ['gtime', TIME],
  ['timeout', TIMEOUT],
  ['gtimeout', TIMEOUT],
  ['stdbuf', { values: 'ioe', long: ['input', 'output', 'error'] }],
  [
    'xargs',
    {
      values: 'adEILlnPsJRS',
      long: ['arg-file', 'delimiter', 'max-args', 'max-procs', 'max-chars', 'process-slot-var'],
    },
  ],
  [
    'parallel',
    {
      values: 'jSaNLdICM',
      long: ['jobs', 'sshlogin', 'arg-file', 'delimiter', 'timeout', 'retries', 'joblog', 'results', 'delay'],
      line: true,
    },
  ],
  ['watch', { values: 'nq', long: ['interval', 'equexit'], line: true }],
  ['exec', { values: 'a' }],
  ['command', { queries: 'vV' }],
  ['builtin', {}],
  ['chroot', { long: ['groups', 'userspec'], own: 1 }],
  ['unshare', { values: 'SGRw', long: ['setuid', 'setgid', 'root', 'wd', 'propagation', 'map-user', 'map-group'] }],
  ['nsenter', { values: 'tSGW', long: ['target', 'setuid', 'setgid', 'wdns'] }],
  [
    'systemd-run',
    {
      values: 'pEuMtHG',
      long: [
        'property',
        'setenv',
        'unit',
        'machine',
        'host',
        'description',
        'slice',
        'uid',
        'gid',
        'nice',
        'working-directory',
        'service-type',
        'on-active',
        'on-calendar',
      ],
    },
  ],
  ['caffeinate', { values: 'tw' }],
  ['strace', { values: 'abeEIoOpPsSuUX' }],
  ['ltrace', { values: 'aAeFlnopsuwx' }],
  [
    'flock',
    {
      values: 'wEc',
      long: ['timeout', 'wait', 'conflict-exit-code', 'command'],
      own: 1,
      lineOptions: ['c', 'command'],
    },
  ],
  [
    'su',
    {
      values: 'cgGsTwC',
      long: ['command', 'group', 'supp-group', 'shell', 'whitelist-environment', 'session-command'],
      lineOptions: ['c', 'C', 'command', 'session-command'],
      own: Infinity,
    },
  ],
  [
    'runuser',
    {
      values: 'cgGsuTwC',
      long: ['command', 'group', 'supp-group', 'shell', 'user', 'session-command'],
      lineOptions: ['c', 'C', 'command', 'session-command'],
    },
  ],
  [
    'script',
    {
      values: 'cEImoOBTt',
      long: ['command', 'echo', 'log-in', 'log-out', 'log-io', 'log-timing'],
      lineOptions: ['c', 'command'],
      own: 1,
    },
  ],
  ['trap', { line: true }],
  ['eval', { line: true }],
  ['busybox', {}],
  ['toybox', {}],
  ['fakeroot', {}],
  ['eatmydata', {}],
  ['unbuffer', {}],
  ['winpty', {}],
]);

/** Shells that take a line with `-c`, and read commands from stdin where they get none. */
export const SHELLS: ReadonlySet<string> = new Set([
  'sh',
  'bash',
  'zsh',
  'dash',
  'ksh',
  'mksh',
  'ash',
  'fish',
  'rbash',
  'csh',
  'tcsh',
]);

/** Programs whose command stands where no rule finds it: every word may be one. */
export const LOOSE: ReadonlySet<string> = new Set(['start', 'forfiles', 'runas', 'start-process', 'saps', 'psexec']);

/** Names of one thing, in the shells that have them. */
export const SAME: readonly (readonly string[])[] = [
  ['rm', 'rmdir', 'rd', 'ri', 'del', 'erase', 'remove-item'],
  ['shutdown', 'stop-computer'],
  ['reboot', 'restart-computer'],
  ['format', 'format-volume'],
];

/** The options of PowerShell that say where its commands stand; abbreviations count. */
export const POWERSHELL = {
  encoded: /^[-/](?:e|ec|en[a-z]*)$/i,
  file: /^[-/]f(?:i[a-z]*)?$/i,
  command: /^[-/]c(?:o[a-z]*|w[a-z]*)?$/i,
  /** Those that take a value which is no command. */
  valued: /^[-/](?:ep|ex[a-z]*|v[a-z]*|wi[a-z]*|wo[a-z]*|o[a-z]*|in[a-z]*|ps[a-z]*|cu[a-z]*|s[a-z]*)$/i,
} as const;

/** What `find` hands on to. */
export const FIND_ACTIONS: ReadonlySet<string> = new Set(['-exec', '-execdir', '-ok', '-okdir']);
