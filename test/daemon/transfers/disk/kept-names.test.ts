import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { KeptNames } from '../../../../src/daemon/transfers/disk/kept-names.ts';
import { listFolder } from '../../../../src/daemon/transfers/disk/list.ts';
import { FakeClock } from '../../../helpers/clock.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, quickFolder, type TestDisk } from './setup.ts';

const reads = vi.hoisted(() => ({ count: 0 }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  const opendirSync = (...given: Parameters<typeof real.opendirSync>) => {
    reads.count += 1;
    return real.opendirSync(...given);
  };
  return { ...real, opendirSync };
});

const NAMES = Array.from({ length: 50 }, (_, at) => `name-${String(at).padStart(2, '0')}`);
let home: string;
let disk: TestDisk;
let clock: FakeClock;
let kept: KeptNames;

beforeEach(async () => {
  home = join(await quickFolder(), 'home');
  fs.mkdirSync(join(home, 'tree'), { recursive: true });
  for (const name of NAMES) fs.writeFileSync(join(home, 'tree', name), '');
  disk = diskIn(home);
  clock = new FakeClock();
  kept = new KeptNames(clock);
  reads.count = 0;
});

const page = async (cursor?: string, path = '~/tree'): Promise<{ names: string[]; next: string | undefined }> => {
  const { files, nextCursor } = await listFolder(disk.around, { path, limits: {}, limit: 7, cursor }, kept);
  return { names: files.map(({ name }) => name), next: nextCursor };
};

const allPages = async (): Promise<string[]> => {
  const found: string[] = [];
  for (let cursor: string | undefined; ;) {
    const { names, next } = await page(cursor);
    found.push(...names);
    if (next === undefined) return found;
    cursor = next;
  }
};

describe('a folder that is listed page by page', () => {
  it(
    verifies('transfers.bounds', 'is read once, not once for each page; and each list begins with the truth'),
    async () => {
      expect(await allPages()).toEqual(NAMES);
      expect(reads.count).toBe(1);
      expect(await allPages()).toEqual(NAMES);
      expect(reads.count).toBe(2);
    },
  );

  it('is read anew where something came into it, or after some seconds', async () => {
    const { next } = await page();
    fs.writeFileSync(join(home, 'tree', `${next}-more`), '');
    expect((await page(next)).names[0]).toBe(`${next}-more`);
    expect(reads.count).toBe(2);
    clock.advance(60_000);
    expect((await page(next)).names[0]).toBe(`${next}-more`);
    expect(reads.count).toBe(3);
  });

  it('is not taken for another one in its place', async () => {
    const { next } = await page();
    fs.renameSync(join(home, 'tree'), join(home, 'moved'));
    fs.mkdirSync(join(home, 'tree'));
    expect(await page(next)).toEqual({ names: [], next: undefined });
  });

  it('can be asked for any page of it again, and beside others', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      fs.mkdirSync(join(home, name));
      for (const file of NAMES) fs.writeFileSync(join(home, name, file), '');
    }
    const second = await page('name-06');
    expect(second.names[0]).toBe('name-07');
    for (const name of ['a', 'b', 'c', 'd', 'e']) expect((await page(undefined, `~/${name}`)).names).toHaveLength(7);
    expect(await page('name-06')).toEqual(second);
    // Behind what is kept, before it, and between two names.
    expect((await page('name-02')).names[0]).toBe('name-03');
    expect((await page('name-10x')).names[0]).toBe('name-11');
    expect((await page('name-49')).names).toEqual([]);
  });
});
