import { access } from 'node:fs/promises';

import { errorCode } from '../../kernel/atomic-file.ts';
import type { Clock } from '../../kernel/clock.ts';

const LOOK_MS = 60_000;

/** What shows that no node comes any more. */
export interface ForsakenOptions {
  readonly clock: Clock;
  /** How nodes find this supervisor. */
  readonly entryFile: string;
  /** No node is here, and no run has begun: all that there is waits for one. */
  readonly isAlone: () => boolean;
  readonly onForsaken: () => void;
}

/** Looks each minute whether a node could still find it: the data folder may have been removed. */
export const watchForsaken = ({ clock, entryFile, isAlone, onForsaken }: ForsakenOptions): void => {
  const look = async (): Promise<void> => {
    if (!isAlone() || !(await isMissing(entryFile)) || !isAlone()) return;
    timer.cancel();
    onForsaken();
  };
  const timer = clock.every(LOOK_MS, () => void look());
};

const isMissing = async (file: string): Promise<boolean> => {
  try {
    await access(file);
    return false;
  } catch (error) {
    return errorCode(error) === 'ENOENT';
  }
};
