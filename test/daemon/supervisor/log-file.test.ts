import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { logTo } from '../../../src/daemon/supervisor/log-file.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

it('the log of supervisors goes on when it is full: the older half is replaced', async () => {
  const folder = await tempFolder();
  const file = join(folder, 'supervisor.log');
  const write = logTo(file);
  write('first\n');
  if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
  for (const last of ['second\n', 'third\n']) {
    await writeFile(file, 'x'.repeat(1_048_576));
    write(last);
    expect(await readFile(file, 'utf8')).toBe(last);
  }
  expect((await readdir(folder)).sort()).toEqual(['supervisor.log', 'supervisor.log.1']);
  expect(() => logTo(join(folder, 'no', 'folder'))('x')).not.toThrow();
});
