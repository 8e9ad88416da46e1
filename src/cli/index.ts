/** What `loopsy` is started as: it loads the command from the files beside it. */
import { loadBuilt } from '../kernel/built-files.ts';

/** The file of `command.ts`; the build writes its name here. */
declare const BUILT_FILE: string;

loadBuilt(BUILT_FILE, { dir: __dirname, require });
