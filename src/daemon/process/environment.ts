/** Variables as a process gets them. */
export type Variables = Readonly<Record<string, string>>;

/** Where a child's environment is built from: nothing else of the node's own environment reaches a child. */
export interface EnvironmentSource {
  readonly platform: NodeJS.Platform;
  /** The node's own environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly user: string;
  /** The PATH that children get. */
  readonly path: string;
}

const POSIX_NAMES = ['SHELL', 'LANG', 'TZ', 'TMPDIR', 'TERM', 'XDG_RUNTIME_DIR'];

const WIN32_NAMES = [
  'ALLUSERSPROFILE', 'APPDATA', 'CommonProgramFiles', 'CommonProgramFiles(x86)', 'CommonProgramW6432', 'COMPUTERNAME',
  'ComSpec', 'DriverData', 'HOMEDRIVE', 'HOMEPATH', 'LANG', 'LOCALAPPDATA', 'LOGONSERVER', 'NUMBER_OF_PROCESSORS', 'OS',
  'PATHEXT', 'PROCESSOR_ARCHITECTURE', 'PROCESSOR_IDENTIFIER', 'PROCESSOR_LEVEL', 'PROCESSOR_REVISION', 'ProgramData',
  'ProgramFiles', 'ProgramFiles(x86)', 'ProgramW6432', 'PSModulePath', 'PUBLIC', 'SESSIONNAME', 'SystemDrive',
  'SystemRoot', 'TEMP', 'TERM', 'TMP', 'TZ', 'USERDOMAIN', 'USERNAME', 'windir',
]; // prettier-ignore

/** The part of every child's environment that the machine gives: a named list, never what the node happened to inherit. */
export const baseEnvironment = (source: EnvironmentSource): Variables =>
  source.platform === 'win32' ? win32Base(source) : posixBase(source);

const posixBase = ({ variables, home, user, path }: EnvironmentSource): Variables => {
  const built: Record<string, string> = { PATH: path, HOME: home, USER: user };
  for (const [name, value] of Object.entries(variables)) {
    if (value !== undefined && (POSIX_NAMES.includes(name) || name.startsWith('LC_'))) built[name] = value;
  }
  return built;
};

const win32Base = ({ variables, home, path }: EnvironmentSource): Variables => {
  const wanted = new Map(WIN32_NAMES.map((name) => [name.toUpperCase(), name]));
  const built: Record<string, string> = { Path: path, USERPROFILE: home };
  for (const [name, value] of Object.entries(variables)) {
    const listed = wanted.get(name.toUpperCase());
    if (value !== undefined && listed !== undefined) built[listed] = value;
  }
  return built;
};

/** `more` over `base`. On Windows names that differ in case alone are one variable. */
export const mergeVariables = (base: Variables, more: Variables, platform: NodeJS.Platform): Variables => {
  if (platform !== 'win32') return { ...base, ...more };
  const merged: Record<string, string> = { ...base };
  const names = new Map(Object.keys(merged).map((name) => [name.toUpperCase(), name]));
  for (const [name, value] of Object.entries(more)) {
    const known = names.get(name.toUpperCase()) ?? name;
    names.set(name.toUpperCase(), known);
    merged[known] = value;
  }
  return merged;
};

/** Builds one run's environment: the base, `execution.env`, what the caller sent; later ones win. */
export type BuildEnvironment = (path: string, configured: Variables, sent: Variables | undefined) => Variables;

/** Keeps the base between runs: it changes with PATH and with the configuration only. */
export const createEnvironment = (source: Omit<EnvironmentSource, 'path'>): BuildEnvironment => {
  let key: { path: string; configured: Variables } | undefined;
  let kept: Variables = {};
  return (path, configured, sent) => {
    if (key?.path !== path || key.configured !== configured) {
      kept = mergeVariables(baseEnvironment({ ...source, path }), configured, source.platform);
      key = { path, configured };
    }
    return sent === undefined ? kept : mergeVariables(kept, sent, source.platform);
  };
};
