import type { RequirementId } from './requirements.ts';

/** Promises that no test shows yet. A cited one must leave this list; at the end it is empty. */
export const OPEN: readonly RequirementId[] = [
  // init and start from dist are shown; `npm ci && npm run build` by hand is not.
  'install.by-hand',
];
