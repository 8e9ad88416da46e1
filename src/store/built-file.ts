import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// A bundle lies in dist/ or one folder below it; in the source tree the tests build into .cache/.
const bases = ['./', '../', '../../.cache/'];

/** Where the build put `name` (`store/worker.js`, `vendor/sqlite/index.cjs`); `undefined` where it did not. */
export const findBuiltFile = (name: string): string | undefined =>
  bases.map((base) => fileURLToPath(new URL(base + name, import.meta.url))).find((path) => existsSync(path));
