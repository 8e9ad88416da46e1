import { join } from 'node:path';

import { openStore } from '../../src/store/engine.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { describeStore } from './contract.ts';
import { KeptLog } from './open.ts';

describeStore('durable', async (clock) =>
  openStore({ file: join(await tempFolder(), 'loopsy.db'), clock, log: new KeptLog() }),
);
