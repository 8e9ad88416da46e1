import { fromGitBash } from '../kernel/git-bash-path.ts';
import { LoopsyError } from '../protocol/errors.ts';

/** The system and the user that a path is for. */
export interface PathPlace {
  readonly platform: NodeJS.Platform;
  /** The user's home, native and absolute: where relative paths and `~` start. */
  readonly home: string;
}

const MAX_LENGTH = 4096;
/** Names that mean a device on Windows, in any folder and with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9¹²³])[ .]*(?:\.|$)/i;

/** Half a character: no bytes could say it. */
const LONE_SURROGATE = /\p{Cs}/u;

/** A refusal that names the path as it was given; a hint where somebody can open it. */
export const pathDenied = (
  path: string,
  why: string,
  { hint, ...details }: Readonly<Record<string, unknown>> & { readonly hint?: string } = {},
): LoopsyError =>
  new LoopsyError('path_denied', {
    message: `${JSON.stringify(path.slice(0, 300))} ${why}`,
    details: { path: path.slice(0, 300), ...details },
    ...(hint === undefined ? {} : { hint }),
  });

/** Puts the home before `~`, `~/x` and relative paths. */
const withHome = (path: string, home: string, isAbsolute: boolean): string => {
  if (path === '~' || path.startsWith('~/')) return `${home}/${path.slice(2)}`;
  return isAbsolute ? path : `${home}/${path}`;
};

const fromPosix = (given: string, home: string): string => {
  const segments = withHome(given, home, given.startsWith('/')).split('/');
  // `..` stays: only the file system knows what is above a link.
  return `/${segments.filter((segment) => segment !== '' && segment !== '.').join('/')}`;
};

/** Why Windows has no file of this name; undefined where it can have one. */
const windowsFault = (name: string): string | undefined => {
  if (/[\u0000-\u001f<>"|?*:\\]/.test(name)) return 'has a character that no file name has on Windows';
  if (/[. ]$/.test(name)) return 'ends in a dot or a blank, which Windows drops';
  return DEVICE.test(name) ? 'names a device on Windows' : undefined;
};

/** Why a system has no file of this one name, as a person would read it behind the name; undefined where it can. */
export const nameFault = (name: string, platform: NodeJS.Platform): string | undefined => {
  if (name === '' || name === '.' || name === '..') return 'is no name of a file';
  if (name.includes('/') || name.includes('\0')) return 'has a character that no file name has';
  if (LONE_SURROGATE.test(name)) return 'is no Unicode';
  return platform === 'win32' ? windowsFault(name) : undefined;
};

const checkWindowsSegment = (given: string, segment: string): void => {
  const fault = windowsFault(segment);
  if (fault !== undefined) throw pathDenied(given, `has a name that ${fault}`);
};

/** The drive and what follows it. */
const splitDrive = (given: string, path: string): { drive: string; rest: string } => {
  const [, letter, rest = ''] = /^([A-Za-z]):\/(.*)$/s.exec(fromGitBash(path)) ?? [];
  if (letter === undefined) throw pathDenied(given, 'is none of C:\\x, C:/x and /c/x');
  return { drive: `${letter.toUpperCase()}:`, rest };
};

const fromWindows = (given: string, home: string, isPattern: boolean): string => {
  const path = given.replaceAll('\\', '/');
  if (path.startsWith('//')) throw pathDenied(given, 'is on another machine or a device');
  if (given.startsWith('\\')) throw pathDenied(given, 'has no drive');
  const isAbsolute = path.startsWith('/') || /^[A-Za-z]:/.test(path);
  const { drive, rest } = splitDrive(given, withHome(path, home.replaceAll('\\', '/'), isAbsolute));
  const segments: string[] = [];
  for (const segment of rest.split('/')) {
    // Windows itself takes `..` off the text, before it looks at links.
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  // The stars of a pattern are no part of a name.
  for (const segment of segments) checkWindowsSegment(given, isPattern ? segment.replaceAll(/[*?]/g, 'x') : segment);
  return `${drive}\\${segments.join('\\')}`;
};

/**
 * A path as a person or a program writes it, as an absolute one of this system: `~`, relative to the home, and on
 * Windows `C:\x`, `C:/x` and `/c/x`. Pure: nothing is looked up, and `..` stays where links can lie below it.
 * @throws {LoopsyError} `path_denied` for what no file has: NUL, network and device names, alternate streams, names
 * that Windows would change.
 */
export const toNativePath = (given: string, place: PathPlace): string => toNative(given, place, false);

/** The same for a pattern, whose `*` and `?` stand for characters of names. */
export const toNativePattern = (given: string, place: PathPlace): string => toNative(given, place, true);

const toNative = (given: string, { platform, home }: PathPlace, isPattern: boolean): string => {
  if (given === '' || given.length > MAX_LENGTH)
    throw pathDenied(given, `is empty or longer than ${MAX_LENGTH} characters`);
  if (given.includes('\0')) throw pathDenied(given, 'has a NUL in it');
  if (LONE_SURROGATE.test(given)) throw pathDenied(given, 'is no Unicode');
  return platform === 'win32' ? fromWindows(given, home, isPattern) : fromPosix(given, home);
};
