import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { verifies } from '../requirements.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SUITE = `
import { expect, it } from 'vitest';
it('passes', () => expect(1).toBe(1));
it('fails', () => expect(1).toBe(2));
it('needs a tool', ({ skip }) => skip(true, 'there is no such tool here'));
`;
const SILENT = `
import { expect, it } from 'vitest';
it('passes', () => expect(1).toBe(1));
it.skipIf(true)('is left out', () => expect(1).toBe(2));
`;

const runSuite = (suite: string, ...more: string[]): { status: number | null; stderr: string; results: unknown } => {
  mkdirSync(path.join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(path.join(ROOT, '.cache', 'results-test-'));
  try {
    writeFileSync(path.join(folder, 'a.test.ts'), suite);
    writeFileSync(path.join(folder, 'vitest.config.mjs'), 'export default {};');
    const results = path.join(folder, 'results.json');
    const vitest = path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
    const reporter = path.join(ROOT, 'scripts', 'lib', 'results-reporter.mjs');
    const args = [vitest, 'run', '--root', folder, '--reporter', reporter, ...more];
    const env = { ...process.env, TEST_RESULTS: results };
    const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
    return { status, stderr, results: JSON.parse(readFileSync(results, 'utf8')) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

describe('the results of a run', () => {
  it(verifies('repo.skips', 'count what passed, failed and was skipped, each skip with its reason'), () => {
    const { status, stderr, results } = runSuite(SUITE);
    expect(status, stderr).toBe(1);
    expect(results).toMatchObject({
      passed: 1,
      failed: 1,
      skipped: 1,
      skips: [{ name: 'needs a tool', reason: 'there is no such tool here' }],
      unexplained: [],
    });
  });

  it(verifies('repo.skips', 'are a failure where a skip gives no reason, unless a person asked for some tests'), () => {
    const { status, stderr, results } = runSuite(SILENT);
    expect(status).toBe(1);
    expect(stderr).toContain('skipped without a reason: is left out');
    expect(results).toMatchObject({ passed: 1, failed: 1, skipped: 1, unexplained: ['is left out'] });
    expect(runSuite(SILENT, '-t', 'passes')).toMatchObject({ status: 0, results: { failed: 0, unexplained: [] } });
  });
});
