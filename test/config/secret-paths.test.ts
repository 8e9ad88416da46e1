import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { openConfigStore } from '../../src/config/store.ts';
import { createLog } from '../../src/kernel/log.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { MINIMAL, sourceIn } from './source.ts';

/** What is said of a list, in a home with five places of secrets. */
const warningsOf = async (transfer: string): Promise<string[]> => {
  const home = await tempFolder();
  for (const folder of ['.ssh', '.gnupg', '.aws', '.kube', '.claude'])
    await mkdir(join(home, folder), { recursive: true });
  await writeFile(join(home, '.claude/.credentials.json'), '{}');
  const clock = new FakeClock();
  const source = { ...sourceIn(await tempFolder()), home };
  await writeFile(source.paths.config, `${MINIMAL}${transfer}`);
  const log = createLog({ level: 'error', clock, write: () => undefined });
  return (await openConfigStore({ source, clock, log })).warnings;
};

describe('a list of transfer.deniedPaths', () => {
  it('is warned of where it leaves open what is usually denied, with what to write', async () => {
    expect(await warningsOf('transfer: {deniedPaths: [~/private]}')).toEqual([
      'transfer.deniedPaths takes the place of the usual list: transfers may read and write ~/.ssh, ~/.gnupg, ~/.aws ' +
        'and 2 more; add what is secret: ["~/.ssh", "~/.gnupg", "~/.aws", "~/.kube", "~/.claude/.credentials.json"]',
    ]);
    expect(
      await warningsOf('transfer: {deniedPaths: [~/.ssh, ~/.gnupg/, ~/.claude, ~/.aws/keys, ~/.kubeconfig]}'),
    ).toEqual([
      expect.stringContaining(
        'transfers may read and write ~/.aws, ~/.kube; add what is secret: ["~/.aws", "~/.kube"]',
      ),
    ]);
  });

  it.each([
    ['there is none', ''],
    ['it has them all', 'transfer: {deniedPaths: [~/.ssh, ~/.gnupg, ~/.aws, ~/.kube, ~/.claude]}'],
    ['all of the home is denied', 'transfer: {deniedPaths: ["~"]}'],
    ['they are not allowed either', 'transfer: {allowedPaths: [~/work, /srv], deniedPaths: []}'],
  ])('is not warned of where %s', async (_, transfer) => {
    expect(await warningsOf(transfer)).toEqual([]);
  });
});
