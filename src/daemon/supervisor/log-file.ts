import { appendFileSync, renameSync, statSync } from 'node:fs';

/** The file before it, `<file>.1`, has no more either. */
const MAX_BYTES = 1_048_576;

/** Writes lines to a file that stays small; a full disk takes no word of it either. */
export const logTo =
  (file: string) =>
  (line: string): void => {
    try {
      const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
      if (size >= MAX_BYTES) renameSync(file, `${file}.1`);
      appendFileSync(file, line, { mode: 0o600 });
    } catch {
      return; // its runs go on without it
    }
  };
