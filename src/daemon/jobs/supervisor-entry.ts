import { join } from 'node:path';

import { readTextFile } from '../../kernel/atomic-file.ts';
import { parseFields } from '../../protocol/record.ts';
import type { ProcessIdentity } from '../process/process-identity.ts';
import type { SupervisorEntry } from './wire.ts';

/** What a supervisor's file says of it. Both are undefined where the file is there and can't be read at the moment. */
export interface FoundEntry {
  /** Its process, in whatever form the rest is. */
  readonly process?: ProcessIdentity;
  /** How to speak with it: undefined where it speaks a form that this version does not know. */
  readonly entry?: SupervisorEntry;
}

/** Looks for one supervisor. @returns undefined where it has no file, or one that names no process. */
export const readEntry = async (dir: string, id: string): Promise<FoundEntry | undefined> => {
  let text: string | undefined;
  try {
    text = await readTextFile(join(dir, `${id}.json`));
  } catch {
    return {}; // out of files, say: no reason to take it for dead
  }
  const fields = parseFields(text ?? '') ?? {};
  const { v, pid, startedAt, token } = fields;
  // Its supervisor writes it, whole or not at all.
  if (typeof pid !== 'number' || typeof startedAt !== 'number') return undefined;
  const process = { pid, startedAt, token: typeof token === 'string' ? token : undefined };
  const isWhole = ['socket', 'secret', 'version'].every((field) => typeof fields[field] === 'string');
  // The checks are above.
  return isWhole && v === 1 && fields['id'] === id
    ? { process, entry: fields as unknown as SupervisorEntry }
    : { process };
};
