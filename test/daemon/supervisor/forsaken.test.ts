import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { watchForsaken } from '../../../src/daemon/supervisor/forsaken.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { until } from '../jobs/setup.ts';

it('a supervisor whose runs all wait for a node leaves when none can find it any more, and not before', async () => {
  const clock = new FakeClock();
  const folder = await tempFolder();
  const left: string[] = [];
  const watch = (name: string, isAlone: boolean): void =>
    watchForsaken({
      clock,
      entryFile: join(folder, name),
      isAlone: () => isAlone,
      onForsaken: () => void left.push(name),
    });
  await writeFile(join(folder, 'found'), '{}');
  watch('found', true);
  watch('busy', false);
  watch('forsaken', true);
  clock.advance(59_999);
  expect(left).toEqual([]);
  clock.advance(60_000);
  await until(() => left.length > 0);
  expect([left, clock.waiting]).toEqual([['forsaken'], 2]);
});
