import { itemsOf, pagesOf } from '../../client/pages.ts';
import { EXIT } from '../../protocol/errors.ts';
import type { FileList } from '../../protocol/transfers.ts';
import type { Command, Commands } from '../cli.ts';
import { count, localTime, plain, size, table, type Paint } from '../output.ts';
import { remotePath } from '../transfer-paths.ts';
import { saidBy } from '../transfer-words.ts';
import { peerNamed } from '../values.ts';

type File = FileList['files'][number];

const HOME = '~';

const ls: Command = async ({ invocation, node, out }) => {
  const [named, typed = HOME] = invocation.args;
  const peer = peerNamed(named);
  const input = { path: remotePath(typed), limit: 1000 };
  const { client } = await node();
  let path = typed;
  let unreadable = 0;
  const files = await itemsOf(pagesOf(client, 'file.list', { input, peer }), (page) => {
    path = page.path;
    unreadable += page.unreadable ?? 0;
    return page.files;
  }).catch(saidBy(peer, 'name a folder above it, or none: then it is the home'));
  if (out.json) {
    out.document({ path, files, ...(unreadable > 0 ? { unreadable } : {}) });
    return EXIT.ok;
  }
  const place = `${peer === undefined ? '' : `${plain(peer)}:`}${plain(path)}`;
  if (files.length > 0) out.print(out.paint.bold(place), ...tableOf(files, out.paint));
  else out.print(unreadable > 0 ? out.paint.bold(place) : `${place} is empty.`);
  if (unreadable > 0) out.note(unreadableWords(unreadable));
  return EXIT.ok;
};

const unreadableWords = (number: number): string =>
  `${count(number, 'name')} ${number === 1 ? 'is' : 'are'} not UTF-8 and can not be shown`;

/** Modes only where the system has them. */
const tableOf = (files: readonly File[], paint: Paint): string[] => {
  const sizes = files.map(({ type, size: bytes }) => (type === 'file' ? size(bytes) : ''));
  const width = Math.max('SIZE'.length, ...sizes.map((text) => text.length));
  const hasModes = files.some(({ mode }) => mode !== undefined);
  const rows = files.map((file, at) => [
    ...(hasModes ? [modeWords(file)] : []),
    (sizes[at] ?? '').padStart(width),
    localTime(file.modified),
    nameWords(file),
  ]);
  return table([[...(hasModes ? ['MODE'] : []), 'SIZE'.padStart(width), 'MODIFIED', 'NAME'], ...rows], paint);
};

const KINDS: Readonly<Record<File['type'], string>> = { file: '-', directory: 'd', symlink: 'l', other: '?' };

/** As `ls -l` writes it: `-rw-r--r--`. */
const modeWords = ({ type, mode }: File): string => {
  if (mode === undefined) return '';
  const bits = 'rwxrwxrwx'.replaceAll(/./g, (letter, at: number) => ((mode >> (8 - at)) & 1 ? letter : '-'));
  return `${KINDS[type]}${bits}`;
};

const nameWords = ({ name, type, target }: File): string => {
  if (type === 'directory') return `${plain(name)}/`;
  return target === undefined ? plain(name) : `${plain(name)} -> ${plain(target)}`;
};

export const commands: Commands = { ls };
