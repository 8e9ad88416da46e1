import { LoopsyError } from '../../../protocol/errors.ts';
import { isRecord } from '../../../protocol/record.ts';
import type { TargetStep } from '../../../protocol/transfers.ts';
import type { Target } from './target.ts';
import { isCount, isEntry, isWanted } from './wanted.ts';

/** Of one step. */
const MAX_ENTRIES = 10_000;
/** Of one file: a hundred terabytes. */
const MAX_CHUNKS = 25_000_000;

/** A step that comes as JSON. */
export interface JsonStep {
  readonly step: Exclude<TargetStep, 'batch'>;
  readonly file: number;
  readonly value: unknown;
}

const malformed = (): LoopsyError =>
  new LoopsyError('invalid_request', { message: 'this step of a transfer has another form than it must have' });

/** Does one step of a target. @throws {LoopsyError} `invalid_request` where it has another form. */
export const takeStep = async (target: Target, { step, file, value }: JsonStep): Promise<unknown> => {
  const fields = isRecord(value) ? value : {};
  switch (step) {
    case 'plan':
      return target.plan(listIn(fields, 'entries', isEntry));
    case 'same':
      return target.same(listIn(fields, 'files', isWanted), listIn(fields, 'digests', isDigest));
    case 'prepare':
      return target.prepare(fieldIn(fields, 'file', isWanted));
    case 'commit':
      return target.large.commit(file, listIn(fields, 'keep', isRange));
    case 'resume':
      return target.large.resume(file, fieldIn(fields, 'from', isCount));
    case 'drop':
      target.large.drop(file);
      return {};
    case 'finish':
      return target.finish(listIn(fields, 'entries', isEntry));
    case 'extra': {
      const after = fields['after'] === undefined ? undefined : fieldIn(fields, 'after', isText);
      const asked = { after, isJudged: fields['judge'] === true, isGone: fields['gone'] === true };
      return target.extra(fieldIn(fields, 'root', isCount), fieldIn(fields, 'folder', isText), asked);
    }
    case 'remove':
      return target.remove({
        root: fieldIn(fields, 'root', isCount),
        paths: listIn(fields, 'paths', isText),
        isEmptied: fields['emptied'] === true,
      });
  }
};

const fieldIn = <Value>(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  is: (value: unknown) => value is Value,
): Value => {
  const value = fields[name];
  if (is(value)) return value;
  throw malformed();
};

const listIn = <Item>(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  is: (value: unknown) => value is Item,
): readonly Item[] => {
  const list = fields[name];
  if (Array.isArray(list) && list.length <= MAX_ENTRIES && list.every(is)) return list;
  throw malformed();
};

const isText = (value: unknown): value is string => typeof value === 'string';

const isDigest = (value: unknown): value is string | null => value === null || isText(value);

const isRange = (value: unknown): value is readonly [number, number] =>
  Array.isArray(value) && value.length === 2 && isCount(value[0]) && isCount(value[1]) && value[1] <= MAX_CHUNKS;
