import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';

const ASK_MS = 2000;
const LISTENS = '0A';

/** The process that listens on a port, in words; undefined where the system doesn't say. */
export const findHolder = async (port: number, platform: NodeJS.Platform): Promise<string | undefined> => {
  if (platform === 'linux') return holderInProc(port);
  if (platform !== 'win32') return parseLsof(await run('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc']));
  return parseNetstat(await run('netstat', ['-ano', '-p', 'TCP']), port);
};

/** What it prints; nothing where there is no such program. */
const run = (program: string, args: readonly string[]): Promise<string> =>
  new Promise((resolve) => {
    execFile(program, args, { timeout: ASK_MS, windowsHide: true }, (_error, stdout) => resolve(stdout));
  });

/** `lsof -F` prints a letter and a value a line: p the pid, c the command. */
export const parseLsof = (text: string): string | undefined => {
  const pid = /^p(\d+)$/m.exec(text)?.[1];
  return pid === undefined ? undefined : `${/^c(.+)$/m.exec(text)?.[1] ?? 'a program'} (pid ${pid})`;
};

/** `TCP  0.0.0.0:19532  0.0.0.0:0  LISTENING  4711`; the words depend on the language, the places don't. */
export const parseNetstat = (text: string, port: number): string | undefined => {
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/));
  const row = rows.find(
    ([, local, foreign]) => local?.endsWith(`:${port}`) === true && foreign?.endsWith(':0') === true,
  );
  return row?.[4] === undefined ? undefined : `the program with pid ${row[4]}`;
};

/** The inode of the listening socket in the text of /proc/net/tcp. */
export const parseProcNet = (text: string, port: number): string | undefined => {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/));
  return rows.find(([, local, , state]) => state === LISTENS && local?.endsWith(`:${hex}`) === true)?.[9];
};

const holderInProc = async (port: number): Promise<string | undefined> => {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  const inode = tables.map((table) => parseProcNet(table, port)).find((found) => found !== undefined);
  if (inode === undefined) return undefined;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if (!(await holdsSocket(pid, inode))) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a program');
    return `${name.trim()} (pid ${pid})`;
  }
  // The processes of others can't be looked into.
  return "another user's program";
};

const holdsSocket = async (pid: string, inode: string): Promise<boolean> => {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.includes(`socket:[${inode}]`);
};
