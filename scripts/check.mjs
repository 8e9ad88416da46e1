// `npm run check`: types, lint and format, without the tests.
import { CHECKS, runStep } from './lib/steps.mjs';

let failed = 0;
for (const check of CHECKS) if (!(await runStep(check)).ok) failed += 1;
process.exitCode = failed === 0 ? 0 : 1;
