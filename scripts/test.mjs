// `npm test [-- <filter>]`: types, lint, format, then every test. `--long` asks for the full numbers.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

import { CHECKS, ROOT, binOf, runStep } from './lib/steps.mjs';

const RESULTS = path.join(ROOT, '.cache', 'test-results.json');
const given = process.argv.slice(2).filter((arg) => arg !== '--long');
const env = process.argv.includes('--long') ? { LOOPSY_LONG: '1' } : {};

mkdirSync(path.dirname(RESULTS), { recursive: true });
rmSync(RESULTS, { force: true });
const steps = [];
for (const check of CHECKS) steps.push(await runStep(check));
const vitest = { name: 'tests', args: () => [binOf('vitest'), 'run', ...given], live: true, env };
steps.push(await runStep(vitest));

const results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : undefined;
if (results === undefined) console.log('the tests wrote no results: they did not come to their end');
for (const { name, reason } of results?.skips ?? []) console.log(`skipped: ${name} – ${reason}`);
for (const { name, seconds } of results?.slow ?? []) console.log(`slow: ${name} – ${seconds} s`);
const failed = steps.filter(({ ok }) => !ok).map(({ name }) => name);
if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`);
const { passed = 0, failed: bad = 0, skipped = 0 } = results ?? {};
const seconds = Math.round(steps.reduce((sum, { ms }) => sum + ms, 0) / 1000);
console.log(`${passed} passed, ${bad} failed, ${skipped} skipped, in ${seconds} s`);
process.exitCode = failed.length === 0 && results !== undefined ? 0 : 1;
