/** What a node is given of the environment that it is started from. */
const NAMES = new Set([
  'PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'TZ', 'TMPDIR', 'TERM',
  'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_CACHE_HOME',
  'LOOPSY_DATA_DIR', 'LOOPSY_PORT',
]); // prettier-ignore

/** What Windows' own programs can't do without; names are compared in upper case there. */
const WINDOWS_NAMES = new Set([
  'SYSTEMROOT', 'SYSTEMDRIVE', 'WINDIR', 'COMSPEC', 'PATHEXT', 'USERPROFILE', 'USERNAME', 'USERDOMAIN', 'HOMEDRIVE',
  'HOMEPATH', 'APPDATA', 'LOCALAPPDATA', 'PROGRAMDATA', 'PROGRAMFILES', 'PROGRAMFILES(X86)', 'PROGRAMW6432',
  'COMMONPROGRAMFILES', 'ALLUSERSPROFILE', 'PUBLIC', 'TEMP', 'TMP', 'OS', 'COMPUTERNAME', 'NUMBER_OF_PROCESSORS',
  'PROCESSOR_ARCHITECTURE', 'MSYSTEM', 'EXEPATH',
]); // prettier-ignore

/**
 * The environment of a node: built from a list, not inherited. An agent's or a terminal's own variables, NODE_OPTIONS
 * and tokens stay outside, so that a node is the same whoever started it.
 */
export const buildNodeEnvironment = (
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform = process.platform,
): Record<string, string> => {
  const built: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && isPassed(name, platform)) built[name] = value;
  }
  return built;
};

const isPassed = (name: string, platform: NodeJS.Platform): boolean => {
  if (platform !== 'win32') return NAMES.has(name) || name.startsWith('LC_');
  const upper = name.toUpperCase();
  return NAMES.has(upper) || WINDOWS_NAMES.has(upper) || upper.startsWith('LC_');
};
