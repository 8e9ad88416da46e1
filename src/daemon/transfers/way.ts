import { isRecord } from '../../protocol/record.ts';
import type { DryItem, SourceOpened, SourceWant } from '../../protocol/transfers.ts';
import type { SourceEnd, TargetEnd } from './ends.ts';
import { endIn, shownPath, type Failed } from './format.ts';

/** Both ends of a movement, open. */
export interface Way {
  readonly source: SourceEnd;
  readonly target: TargetEnd;
  readonly opened: SourceOpened;
}

/** Says what a dry run would do, as fast as it is read. */
export type NameItems = (items: readonly DryItem[]) => Promise<void>;

/** What people call a path below a root. */
export const shownIn = ({ opened }: Way, root: number, path: string): string =>
  shownPath(opened.roots[root]?.name ?? '', path);

/** The failures in a target's answer: its own, where it does not say that they are the source's. */
export const failedIn = (answer: unknown): readonly Failed[] => {
  const failed: unknown = isRecord(answer) ? answer['failed'] : undefined;
  if (!Array.isArray(failed)) return [];
  return failed
    .filter(isFailed)
    .map(([path, error, message, hint = '', at]) => [path, error, message, hint, endIn(at) ?? 'target']);
};

const isFailed = (value: unknown): value is Failed =>
  Array.isArray(value) && value.length >= 3 && value.length <= 5 && value.every((part) => typeof part === 'string');

/** A count in an answer. */
export const countIn = (answer: unknown, name: string): number => {
  const value: unknown = isRecord(answer) ? answer[name] : undefined;
  return typeof value === 'number' ? value : 0;
};

/** A list in an answer. */
export const listIn = (answer: unknown, name: string): readonly unknown[] => {
  const value: unknown = isRecord(answer) ? answer[name] : undefined;
  return Array.isArray(value) ? value : [];
};

/** A text in an answer. */
export const textIn = (answer: unknown, name: string): string | undefined => {
  const value: unknown = isRecord(answer) ? answer[name] : undefined;
  return typeof value === 'string' ? value : undefined;
};

/** What a source answers, as a whole. Each chunk's memory is used again: it is copied. */
export const readAll = async (source: SourceEnd, want: SourceWant): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await source.read(want)) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
};

/** The same as JSON. */
export const readJson = async (source: SourceEnd, want: SourceWant): Promise<unknown> =>
  JSON.parse((await readAll(source, want)).toString()) as unknown;
