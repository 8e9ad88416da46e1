import { availableParallelism } from 'node:os';

import { defineConfig } from 'vitest/config';

/** Tests that hold a bar of time in which they mostly wait: little runs beside them. */
const TIMED = [
  'test/daemon/jobs/endings.test.ts',
  'test/daemon/security/{old-credentials,revocation,time-limits}.test.ts',
  'test/e2e/{presence,trust-file}.test.ts',
  'test/trust/pins.test.ts',
];

/** Tests that hold a bar of load or memory: nothing else runs beside them. */
const ALONE = [
  'test/daemon/audit/log.test.ts',
  'test/daemon/jobs/load.test.ts',
  'test/daemon/pairing/crowd.test.ts',
  'test/e2e/{exec-many,load}.test.ts',
];

/** What ends a test that hangs. A test takes 20 s at most where little else runs: the results name those that took longer. */
const LIMIT_MS = 60_000;
const COMMON = { testTimeout: LIMIT_MS, hookTimeout: LIMIT_MS, setupFiles: ['test/helpers/warnings.ts'] };

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: ['default', './scripts/lib/results-reporter.mjs'],
    globalSetup: ['test/helpers/build-worker.ts'],
    projects: [
      {
        test: {
          ...COMMON,
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: [...TIMED, ...ALONE],
          // Many of them wait for processes: one more than there are processors keeps these busy.
          maxWorkers: Math.min(4, availableParallelism() + 1),
          sequence: { groupOrder: 0 },
        },
      },
      { test: { ...COMMON, name: 'timed', include: TIMED, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      { test: { ...COMMON, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
