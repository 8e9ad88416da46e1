// Writes what a run of vitest came to: the counts, and why a test was skipped.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { ROOT } from './steps.mjs';

export default class ResultsReporter {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    const skips = [];
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state in counts) counts[result.state] += 1;
        if (result.state === 'skipped') skips.push({ name: test.fullName, reason: result.note ?? 'no reason given' });
      }
    }
    const broken = modules.filter((module) => module.errors().length > 0).map((module) => module.relativeModuleId);
    // A file that could not be loaded, or an error outside of any test, is a failure like any other.
    counts.failed += broken.length + unhandledErrors.length;
    const document = { ...counts, reason, skips, broken, unhandledErrors: unhandledErrors.length };
    const file = process.env.TEST_RESULTS ?? path.join(ROOT, '.cache', 'test-results.json');
    writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
  }
}
