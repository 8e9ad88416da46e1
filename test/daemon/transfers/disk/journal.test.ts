import { existsSync, lstatSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { draftNameOf } from '../../../../src/daemon/transfers/disk/draft-names.ts';
import { Journals, KEEP_MS } from '../../../../src/daemon/transfers/disk/journal.ts';
import { ENTRY } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { closeTarget, diskIn, draftsIn, targetAt, type TestDisk } from './setup.ts';

const DAY_MS = 86_400_000;
let home: string;
let dir: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
  dir = disk.around.journalDir;
});

describe('journals', () => {
  it(
    verifies('transfers.leftovers', 'small drafts go at once, large ones after a week, and what is open is left alone'),
    () => {
      const [small, link, large] = ['small', 'link', 'large'].map((name) => join(home, draftNameOf(name, 'n')));
      if (small === undefined || link === undefined || large === undefined) throw new Error('no paths');
      writeFileSync(small, 'x');
      writeFileSync(large, 'x');
      symlinkSync('/etc/passwd', link);
      const journals = new Journals(dir);
      const journal = journals.open('a', Date.now());
      journal.begin({ paths: [join(home, 'x')], names: ['x'] });
      journal.addSmall([small, link]);
      journal.addLarge(large);
      journals.sweep(Date.now() + 10 * DAY_MS);
      expect(draftsIn(home)).toHaveLength(3);
      // The process ended.
      const after = new Journals(dir);
      after.sweep(Date.now() + DAY_MS);
      expect(draftsIn(home)).toEqual([draftNameOf('large', 'n')]);
      after.sweep(Date.now() + KEEP_MS + DAY_MS);
      expect([draftsIn(home), readdirSync(dir)]).toEqual([[], []]);
      expect(lstatSync('/etc/passwd').isFile()).toBe(true);
    },
  );

  it(verifies('transfers.leftovers', 'a forged journal removes nothing but drafts, and no folder'), () => {
    mkdirSync(dir, { recursive: true });
    const draft = draftNameOf('x', 'n');
    const kept = [join(home, 'tree'), join(home, 'a.part'), join(home, 'b'), join(home, 'tree', draft)];
    writeFileSync(join(home, 'a.part'), '');
    writeFileSync(join(home, 'b'), '');
    mkdirSync(join(home, 'tree', draft));
    const odd = [{ small: '../../x' }, { small: [7] }, null, 7, 'x', [], { paths: 7, names: {} }];
    const paths = [`../${draft}`, '/', '', '.', '..', `${home}/b/${draft}`, `${home}/\0/${draft}`];
    const lines = [...kept.map((path) => ({ small: [path], large: [path] })), ...odd, { small: paths }];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    writeFileSync(join(dir, `${'0'.repeat(32)}.jsonl`), `${text}{"small":["cut of`);
    writeFileSync(join(dir, 'other.jsonl'), '');
    writeFileSync(join(dir, `${'1'.repeat(32)}.spool`), 'bytes of a form');
    new Journals(dir).sweep(Date.now() + KEEP_MS + DAY_MS);
    for (const path of kept) expect(lstatSync(path)).toBeDefined();
    expect(readdirSync(dir)).toEqual(['other.jsonl']);
    new Journals(join(home, 'nowhere')).sweep(Date.now());
  });

  it('stay small, however many files there were', () => {
    const journal = new Journals(dir).open('many', Date.now());
    journal.begin({ paths: ['/x'], names: ['x'] });
    for (let batch = 0; batch < 300; batch += 1) {
      const names = Array.from({ length: 100 }, (_, index) => `/x/${batch}/${index}/${'y'.repeat(60)}`);
      const lot = journal.addSmall(names);
      if (batch % 100 !== 0) journal.settleSmall(lot);
    }
    const [file = ''] = readdirSync(dir);
    expect(statSync(join(dir, file)).size).toBeLessThan(400_000);
    expect(new Journals(dir).open('many', Date.now()).pathsOf(['x'])).toEqual(['/x']);
  });

  it(
    verifies(
      'transfers.same-place',
      'a destination that was not there is the same place for a repeat, until all has arrived',
    ),
    async () => {
      const paths = async (names: readonly string[], isDone: boolean): Promise<readonly string[]> => {
        const target = await targetAt(disk, '~/new', { roots: names.map((name) => ({ name, type: 'directory' })) });
        await target.plan([[ENTRY.folder, 0, '', 0, 1, 0o755]]);
        await closeTarget(disk, target, isDone);
        return target.places.roots;
      };
      expect(await paths(['a'], false)).toEqual([join(home, 'new')]);
      expect(await paths(['a'], false)).toEqual([join(home, 'new')]);
      // Another thing is another thing, though it is asked for with the same words.
      expect(await paths(['b'], false)).toEqual([join(home, 'new/b')]);
      expect(await paths(['b'], true)).toEqual([join(home, 'new/b')]);
      expect(await paths(['a'], false)).toEqual([join(home, 'new/a')]);
    },
  );

  it('what nobody wants is removed, and not gone on with', () => {
    const draft = join(home, '.loopsy-0123456789abcdef.part');
    for (const [rest, isThere] of [
      ['kept', true],
      ['unwanted', false],
    ] as const) {
      const journal = disk.journals.open('k', Date.now());
      journal.begin({ paths: ['/x'], names: ['x'] });
      journal.addLarge(draft);
      writeFileSync(draft, 'half of it');
      disk.journals.close('k', rest);
      expect(existsSync(draft)).toBe(isThere);
      expect(readdirSync(dir)).toHaveLength(isThere ? 1 : 0);
    }
  });

  it('a repeat after a week begins anew', () => {
    const open = (now: number) => disk.journals.open('k', now);
    open(Date.now()).begin({ paths: ['/x'], names: ['x'] });
    disk.journals.close('k', 'kept');
    expect(open(Date.now()).pathsOf(['x'])).toEqual(['/x']);
    disk.journals.close('k', 'kept');
    expect(open(Date.now() + KEEP_MS + DAY_MS).pathsOf(['x'])).toBeUndefined();
  });
});
