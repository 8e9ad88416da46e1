import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
    reporters: ['default', './scripts/lib/results-reporter.mjs'],
    globalSetup: ['test/helpers/build-worker.ts'],
    setupFiles: ['test/helpers/warnings.ts'],
  },
});
