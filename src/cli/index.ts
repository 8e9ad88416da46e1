/** What `loopsy` is started as: it loads the command from the files beside it. */
import { loadBuilt } from '../kernel/built-files.ts';

/** The file of `command.ts`; the build writes its name here. */
declare const BUILT_FILE: string;

/** Without this, an older Node would end in the middle of a file, with words that help nobody. */
const OLDEST_NODE = 20;

if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE) loadBuilt(BUILT_FILE, { dir: __dirname, require });
else {
  process.stderr.write(`loopsy: it needs Node ${OLDEST_NODE} or newer; this is ${process.version}\n`);
  process.exitCode = 1;
}
