// Writes what a run of vitest came to: the counts, and why a test was skipped. A skip that gives no reason is a failure.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { ROOT } from './steps.mjs';

/** What a test may take where little else runs, s. */
const SLOW = 20;

export default class ResultsReporter {
  /** Whoever names one test knows why the others are skipped. */
  #mayOmitReasons = false;

  onInit({ config }) {
    this.#mayOmitReasons = config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules, unhandledErrors, reason) {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    const skips = [];
    const slow = [];
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state in counts) counts[state] += 1;
        const seconds = (test.diagnostic()?.duration ?? 0) / 1000;
        if (seconds > SLOW) slow.push({ name: test.fullName, seconds: Math.round(seconds) });
        if (state === 'skipped') skips.push({ name: test.fullName, reason: note ?? 'no reason given', note });
      }
    }
    const unexplained = this.#mayOmitReasons ? [] : skips.filter(({ note }) => note === undefined);
    const broken = modules.filter((module) => module.errors().length > 0).map((module) => module.relativeModuleId);
    // A file that could not be loaded, or an error outside of any test, is a failure like any other.
    counts.failed += broken.length + unhandledErrors.length + unexplained.length;
    const document = {
      ...counts,
      reason,
      slow: slow.toSorted((one, other) => other.seconds - one.seconds),
      skips: skips.map(({ name, reason: why }) => ({ name, reason: why })),
      unexplained: unexplained.map(({ name }) => name),
      broken,
      unhandledErrors: unhandledErrors.length,
    };
    const file = process.env.TEST_RESULTS ?? path.join(ROOT, '.cache', 'test-results.json');
    writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
    if (unexplained.length === 0) return;
    for (const { name } of unexplained) console.error(`skipped without a reason: ${name}`);
    process.exitCode = 1;
  }
}
