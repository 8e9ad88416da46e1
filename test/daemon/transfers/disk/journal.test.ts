import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { draftNameOf } from '../../../../src/daemon/transfers/disk/draft-names.ts';
import { markOf } from '../../../../src/daemon/transfers/disk/destinations.ts';
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
      journal.made({ root: 'x', mark: '7', mirrors: false });
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
    journal.made({ root: 'x', mark: '7', mirrors: false });
    for (let batch = 0; batch < 300; batch += 1) {
      const names = Array.from({ length: 100 }, (_, index) => `/x/${batch}/${index}/${'y'.repeat(60)}`);
      const lot = journal.addSmall(names);
      if (batch % 100 !== 0) journal.settleSmall(lot);
    }
    const [file = ''] = readdirSync(dir);
    expect(statSync(join(dir, file)).size).toBeLessThan(400_000);
    expect(new Journals(dir).open('many', Date.now()).hasMade({ root: 'x', mark: '7', mirrors: false })).toBe(true);
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

  it('what nobody wants, or nobody needs any more, is removed, and not gone on with', () => {
    const draft = join(home, '.loopsy-0123456789abcdef.part');
    for (const [rest, isThere] of [
      ['kept', true],
      ['unwanted', false],
      ['none', false],
    ] as const) {
      const journal = disk.journals.open('k', Date.now());
      journal.made({ root: 'x', mark: '7', mirrors: false });
      journal.addLarge(draft);
      writeFileSync(draft, 'half of it');
      disk.journals.close('k', rest);
      expect(existsSync(draft)).toBe(isThere);
      expect(readdirSync(dir)).toHaveLength(isThere ? 1 : 0);
    }
  });

  it(verifies('transfers.leftovers', 'a draft that another transfer writes by now is that one’s'), () => {
    const draft = join(home, '.loopsy-0123456789abcdef.part');
    writeFileSync(draft, 'half of it');
    disk.journals.open('k', Date.now()).addLarge(draft);
    disk.locks.take(draft, disk);
    disk.journals.close('k', 'none');
    expect([existsSync(draft), readdirSync(dir)]).toEqual([true, []]);
  });

  it('a repeat after a week begins anew', () => {
    const made = { root: 'x', mark: '7', mirrors: false };
    const open = (now: number) => disk.journals.open('k', now);
    open(Date.now()).made(made);
    disk.journals.close('k', 'kept');
    expect(open(Date.now()).hasMade(made)).toBe(true);
    disk.journals.close('k', 'kept');
    expect(open(Date.now() + KEEP_MS + DAY_MS).hasMade(made)).toBe(false);
  });

  it('who only looks leaves it to others what becomes of it', () => {
    const made = { root: 'x', mark: '7', mirrors: false };
    const draft = join(home, '.loopsy-0123456789abcdef.part');
    writeFileSync(draft, 'half of it');
    const journal = disk.journals.open('k', Date.now());
    journal.made(made);
    journal.addLarge(draft);
    disk.journals.close('k', 'kept');
    expect(disk.journals.open('k', Date.now()).hasMade(made)).toBe(true);
    disk.journals.close('k', 'untouched');
    expect([existsSync(draft), disk.journals.open('k', Date.now()).hasMade(made)]).toEqual([true, true]);
    disk.journals.open('k', Date.now());
    disk.journals.close('k', 'none');
    disk.journals.close('k', 'untouched');
    expect(disk.journals.open('k', Date.now()).hasMade(made)).toBe(false);
  });
});

/** What the first run goes to, what becomes of that before the second, and what that goes to. */
const REPEATS = [
  { what: 'what it has made is gone on with', first: 'new', meanwhile: () => undefined, second: 'new' },
  {
    what: 'a folder that somebody else made in its place is gone into',
    first: 'new',
    meanwhile: () => remake('new'),
    second: 'new/tree',
  },
  {
    what: 'a folder that was there before, and is gone, is made',
    first: 'old',
    meanwhile: () => rmSync(join(home, 'old'), GONE),
    second: 'old',
  },
  {
    what: 'a folder that was there before is gone into again',
    first: 'old',
    meanwhile: () => undefined,
    second: 'old/tree',
  },
  {
    what: 'what it has made is made again where it is gone',
    first: 'new',
    meanwhile: () => rmSync(join(home, 'new'), GONE),
    second: 'new',
  },
];
const GONE = { recursive: true };
/** What made it anew has its number, maybe, and never its time. */
const remake = (name: string): void => {
  const folder = join(home, name);
  const before = markOf(folder, process.platform);
  do {
    rmSync(folder, GONE);
    mkdirSync(folder);
  } while (markOf(folder, process.platform) === before);
};

describe('a repeat of what was cut off', () => {
  it.each(REPEATS)(verifies('transfers.same-place', '$what'), async ({ first, meanwhile, second }) => {
    mkdirSync(join(home, 'old'));
    const run = async (): Promise<readonly string[]> => {
      const target = await targetAt(disk, `~/${first}`);
      await target.plan([[ENTRY.folder, 0, '', 0, 1, 0o755]]);
      await closeTarget(disk, target, false);
      return target.places.roots;
    };
    await run();
    meanwhile();
    expect(await run()).toEqual([join(home, second)]);
  });

  it(verifies('transfers.same-place', 'of a file goes into a folder that is there by now'), async () => {
    const open = () => targetAt(disk, '~/new', { roots: [{ name: 'file', type: 'file' }] });
    await closeTarget(disk, await open(), false);
    mkdirSync(join(home, 'new'));
    expect((await open()).places.roots).toEqual([join(home, 'new/file')]);
  });
});
