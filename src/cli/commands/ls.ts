import { itemsOf, pagesOf } from '../../client/pages.ts';
import { EXIT } from '../../protocol/errors.ts';
import type { FileList } from '../../protocol/transfers.ts';
import type { Command, Commands } from '../cli.ts';
import { localTime, plain, size, table, type Paint } from '../output.ts';
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
  const files = await itemsOf(pagesOf(client, 'file.list', { input, peer }), (page) => {
    path = page.path;
    return page.files;
  }).catch(saidBy(peer, 'name a folder above it, or none: then it is the home'));
  if (out.json) {
    out.document({ path, files });
    return EXIT.ok;
  }
  const place = `${peer === undefined ? '' : `${plain(peer)}:`}${plain(path)}`;
  if (files.length === 0) {
    out.print(`${place} is empty.`);
    return EXIT.ok;
  }
  out.print(out.paint.bold(place), ...tableOf(files, out.paint));
  return EXIT.ok;
};

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
