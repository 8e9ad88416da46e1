import { readdirSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { writeLarge } from '../helpers/files.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { mountSmallDisk, type SmallDisk } from '../helpers/small-disk.ts';
import { verifies } from '../requirements.ts';

const NO_DISK = 'only root on Linux may mount a disk';

let a: Machine;
let b: Machine;

beforeAll(async () => {
  [a, b] = [await Machine.create('near'), await Machine.create('far')];
  await connectMachines(a, b);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
}, 60_000);

const mountAt = async ({ home }: Machine, folder: string): Promise<SmallDisk | undefined> => {
  await mkdir(join(home, folder), { recursive: true });
  return mountSmallDisk(20_000, join(home, folder));
};

/** Resolves when a large file is on its way into this folder. */
const begun = (folder: string): Promise<unknown> =>
  until(() => readdirSync(folder).some((name) => name.endsWith('.part')), 20_000);

const kill = async (machine: Machine): Promise<boolean> => process.kill((await machine.registration()).pid, 'SIGKILL');

describe('a mirror in the middle of which a node is killed', () => {
  it(
    verifies('transfers.delete-disks', 'keeps what was on a disk that is not at the source any more'),
    { timeout: 60_000 },
    async ({ skip }) => {
      const disk = await mountAt(a, 'one/n');
      skip(disk === undefined, NO_DISK);
      await writeFile(join(a.home, 'one/n/i'), 'i');
      expect((await a.run(['send', '--delete', 'far', 'one/.', 'one'])).code).toBe(0);
      await writeLarge(join(a.home, 'one/large'), 8_000_000);
      const sending = a.run(['send', '--delete', '--limit', '1M', 'far', 'one/.', 'one']);
      await begun(join(b.home, 'one'));
      await kill(b);
      await disk?.takeAway();
      await b.start();
      const { code, stderr } = await sending;
      expect([code, stderr]).toEqual([1, expect.stringContaining('is another folder than when this transfer began')]);
      expect(await readdir(join(b.home, 'one/n'))).toEqual(['i']);
    },
  );

  it(
    verifies(
      'transfers.delete-disks',
      'leaves what lies under the mount point that was its target, whichever is killed',
    ),
    { timeout: 60_000 },
    async ({ skip }) => {
      const disk = await mountAt(b, 'two');
      skip(disk === undefined, NO_DISK);
      await mkdir(join(a.home, 'two'));
      await writeLarge(join(a.home, 'two/large'), 8_000_000);
      const { transferId } = await a.json<{ transferId: string }>([
        'send',
        '--detach',
        '--delete',
        '--limit',
        '1M',
        'far',
        'two/.',
        'two',
      ]);
      await begun(join(b.home, 'two'));
      await kill(a);
      await kill(b);
      await disk?.takeAway();
      await writeFile(join(b.home, 'two/own'), 'mine');
      await b.start();
      await a.start();
      const row = async (): Promise<unknown> => (await a.fetch('GET', `/transfers/${transferId}`)).json();
      await expect
        .poll(row, { timeout: 30_000 })
        .toMatchObject({ state: 'ended', outcome: 'failed', error: 'file_not_found', at: 'target' });
      expect(await readdir(join(b.home, 'two'))).toEqual(['own']);
    },
  );
});
