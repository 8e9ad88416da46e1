/** What the node is started as: it loads `main.ts` from the files beside it. */
import { setFlagsFromString } from 'node:v8';

import { LATER_FLAGS } from '../config/node-flags.ts';
import { loadBuilt } from '../kernel/built-files.ts';

/** The file of `main.ts`; the build writes its name here. */
declare const BUILT_FILE: string;

// Node's own modules come first: the flags would spoil their bytecode. Of an `import` that names nothing the build
// would leave nothing.
require('node:child_process');
require('node:crypto');
require('node:dns');
require('node:fs/promises');
require('node:http');
require('node:module');
require('node:tls');
require('node:worker_threads');
for (const flag of LATER_FLAGS) setFlagsFromString(flag);
loadBuilt(BUILT_FILE, { dir: __dirname, require });
