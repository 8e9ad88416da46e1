import { itemsOf, pagesOf } from '../../client/pages.ts';
import { EXIT } from '../../protocol/errors.ts';
import type { FileList } from '../../protocol/transfers.ts';
import type { Command, Commands } from '../cli.ts';
import { count, localTime, plain, size, table, type Output, type Paint } from '../output.ts';
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
  const pages = pagesOf(client, 'file.list', { input, peer });
  const shown = out.json ? printDocument(pages, out) : printPages(pages, out, peer);
  await shown.catch(saidBy(peer, 'name a folder above it, or none: then it is the home'));
  return EXIT.ok;
};

const printDocument = async (pages: AsyncIterable<FileList>, out: Output): Promise<void> => {
  let said = {};
  const files = await itemsOf(pages, ({ path, unreadable, files: page }) => {
    said = { ...said, path, ...(unreadable === undefined ? {} : { unreadable }) };
    return page;
  });
  out.document({ ...said, files });
};

/** Each page as it comes: who wants the first lines alone waits for no others. */
const printPages = async (pages: AsyncIterable<FileList>, out: Output, peer: string | undefined): Promise<void> => {
  let columns: Columns | undefined;
  let unreadable = 0;
  for await (const page of pages) {
    const place = `${peer === undefined ? '' : `${plain(peer)}:`}${plain(page.path)}`;
    unreadable += page.unreadable ?? 0;
    if (columns === undefined) {
      const isEmpty = page.files.length + unreadable === 0 && page.nextCursor === undefined;
      out.print(isEmpty ? `${place} is empty.` : out.paint.bold(place));
    }
    const isFirst = columns === undefined;
    columns ??= columnsOf(page);
    if (page.files.length > 0) out.print(...tableOf(page.files, columns, out.paint).slice(isFirst ? 0 : 1));
  }
  if (unreadable > 0) out.note(unreadableWords(unreadable));
};

const unreadableWords = (number: number): string =>
  `${count(number, 'name')} ${number === 1 ? 'is' : 'are'} not UTF-8 and can not be shown`;

/** The columns of all pages, as the first one tells them. */
interface Columns {
  /** Modes only where the system has them. */
  readonly hasModes: boolean;
  /** Of the sizes. */
  readonly width: number;
}

/** `999 MB`, as wide as they get: of the pages that follow nothing is known yet. */
const MOST_WIDTH = 6;

const sizeWords = ({ type, size: bytes }: File): string => (type === 'file' ? size(bytes) : '');

const columnsOf = ({ files, nextCursor }: FileList): Columns => ({
  hasModes: files.some(({ mode }) => mode !== undefined),
  width: Math.max(
    nextCursor === undefined ? 'SIZE'.length : MOST_WIDTH,
    ...files.map((file) => sizeWords(file).length),
  ),
});

const tableOf = (files: readonly File[], { hasModes, width }: Columns, paint: Paint): string[] => {
  const rows = files.map((file) => [
    ...(hasModes ? [modeWords(file)] : []),
    sizeWords(file).padStart(width),
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
