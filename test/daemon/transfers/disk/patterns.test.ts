import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { expandBraces, isPattern, nameTest } from '../../../../src/daemon/transfers/disk/glob.ts';
import { toNativePattern } from '../../../../src/trust/native-path.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, sourceOf, whys, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  for (const folder of ['x', 'y', 'x/sub', '.dot', '.ssh']) mkdirSync(join(home, folder), { recursive: true });
  for (const file of [
    'a.txt',
    'b.txt',
    'c.md',
    'x/1',
    'x/10',
    'x/2',
    'y/1',
    '.dot/f',
    '.ssh/id',
    'q?',
    '[z]',
    '{k,l}',
    'st*r',
    'e\\s',
  ])
    writeFileSync(join(home, file), '');
  disk = diskIn(home);
});

const find = async (...paths: string[]): Promise<string[]> => {
  const { source, failed, names } = await sourceOf(disk, paths);
  source.close();
  return [...names, ...whys(failed)];
};

describe('two stars', () => {
  it('stand for no folders in between, and it is said what does', async () => {
    mkdirSync(join(home, 'x/**'));
    for (const path of ['~/**/1', '~/x/**/1/*']) {
      const { source, failed } = await sourceOf(disk, [path]);
      source.close();
      expect(failed).toMatchObject([
        [
          path,
          'invalid_request',
          `"${path}" has "**", which stands for nothing here`,
          'a * stands for one name: */x and */*/x are in folders; or name the folder, and all that is in it goes',
        ],
      ]);
    }
    // What is there is no pattern; and at the end all is meant, as with one star.
    expect(await find('~/x/**')).toEqual(['**']);
    expect(await find('~/y/**')).toEqual(['1']);
    expect(await find('~/a**t')).toEqual(['a.txt']);
  });
});

describe('patterns', () => {
  it(verifies('transfers.patterns', 'find what a shell would'), async () => {
    expect(await find('~/*.txt')).toEqual(['a.txt', 'b.txt']);
    expect(await find('*.md')).toEqual(['c.md']);
    expect(await find(`${home}/x/?`)).toEqual(['1', '2']);
    expect(await find('~/x/[0-9]*')).toEqual(['1', '10', '2']);
    expect(await find('~/{a,b}.txt')).toEqual(['a.txt', 'b.txt']);
    expect(await find('~/{x/1,y/1,c.md}')).toEqual(['c.md', '1', '1']);
    expect(await find('~/[xy]/1')).toEqual(['1', '1']);
    expect(await find('~/x/*/')).toEqual(['sub']);
    expect(await find('~/*.txt/')).toEqual(['~/*.txt/ file_not_found']);
    expect(await find('~/x/[!0-9]*')).toEqual(['sub']);
    expect(await find('~/x/../y/*')).toEqual(['1']);
    expect(await find('~/.d*/f')).toEqual(['f']);
    expect(await find('~/no*', '~/c.md')).toEqual(['c.md', '~/no* file_not_found']);
    expect(await find('~/*/10')).toEqual(['10']);
  });

  it('names that begin with a dot are named by one', async () => {
    const all = await find('~/*');
    expect(all.filter((name) => name.startsWith('.'))).toEqual([]);
    expect(all).toContain('x');
  });

  it('a file that is really called so is that file', async () => {
    expect(await find('~/q?', '~/[z]', '~/{k,l}', '~/st*r', '~/e\\s')).toEqual(['q?', '[z]', '{k,l}', 'st*r', 'e\\s']);
    expect(await find('~/st\\*r*', '~/q\\??')).toEqual(['st*r', '~/q\\?? file_not_found']);
  });

  it('one match that can not be read is no reason to leave the others behind', async () => {
    symlinkSync('/etc/passwd', join(home, 'y/out'));
    symlinkSync('nowhere', join(home, 'y/dead'));
    expect(await find('~/y/*')).toEqual(['1', `${home}/y/dead path_denied`, `${home}/y/out path_denied`]);
  });

  it('nobody looks into what is closed', async () => {
    expect(await find('/etc/*', '/*/passwd', '~/.ssh/*', '/proc/self/*', '~/../*')).toEqual([
      '/etc/* path_denied',
      '/*/passwd path_denied',
      '~/.ssh/* path_denied',
      '/proc/self/* path_denied',
      '~/../* path_denied',
    ]);
    const { failed } = await sourceOf(disk, ['/etc/pass*']);
    expect(failed[0]?.[2]).not.toContain('passwd');
    // A grant narrows what is looked into.
    const narrow = await sourceOf(disk, ['~/*/1'], { limits: { folders: ['~/x'] } });
    expect(whys(narrow.failed)).toEqual(['~/*/1 path_denied']);
  });

  it(verifies('transfers.patterns', 'no pattern keeps a thread busy'), async () => {
    writeFileSync(join(home, 'x', 'a'.repeat(250)), '');
    const begun = performance.now();
    expect(await find(`~/x/${'*a'.repeat(100)}*b`)).toHaveLength(1);
    expect(await find(`~/x/${'[a-z]*'.repeat(80)}!`)).toHaveLength(1);
    expect(expandBraces('{a,b}'.repeat(30))).toBeUndefined();
    expect(isPattern('['.repeat(4096))).toBe(false);
    expandBraces('{,'.repeat(1000));
    expandBraces(`{${','.repeat(4000)}`);
    isPattern(`{${','.repeat(4000)}`);
    isPattern('\\'.repeat(4096));
    expect(performance.now() - begun).toBeLessThan(3000);
  });

  it.each([
    ['*', 'abc', true],
    ['a*c', 'abc', true],
    ['a*c', 'ab', false],
    ['?', 'é', true],
    ['?', '😀', true],
    ['??', 'a', false],
    ['[abc]', 'b', true],
    ['[!abc]', 'b', false],
    ['[^abc]', 'd', true],
    ['[]a]', ']', true],
    ['[a-]', '-', true],
    ['[[:digit:]]x', '7x', true],
    ['[[:nope:]]', ':', false],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['*.*', 'a', false],
    ['**', 'a', true],
    ['a**b', 'axxb', true],
    ['', '', true],
    ['*a*b*', 'xxaxxbxx', true],
    ['*ab', 'aab', true],
    ['(a|b)', 'a', false],
    ['!a', 'b', false],
    ['+(a)', 'aa', false],
  ])('%s and %s: %s', (pattern, name, fits) => {
    expect(nameTest(pattern, false)?.(name)).toBe(fits);
  });

  it('braces are read as a shell reads them', () => {
    expect(expandBraces('a{b,c}d')).toEqual(['abd', 'acd']);
    expect(expandBraces('{a,b{c,d}}')?.toSorted()).toEqual(['a', 'bc', 'bd']);
    expect(expandBraces('{a}')).toEqual(['{a}']);
    expect(expandBraces('{a')).toEqual(['{a']);
    expect(expandBraces('x{,y}')).toEqual(['x', 'xy']);
    expect(expandBraces('\\{a,b}')).toEqual(['\\{a,b}']);
  });

  it('on Windows a pattern is a path with stars, and case does not count', () => {
    const place = { platform: 'win32', home: 'C:\\Users\\u' } as const;
    expect(toNativePattern('~/*.txt', place)).toBe('C:\\Users\\u\\*.txt');
    expect(toNativePattern('C:/x/[ab]?/{c}', place)).toBe('C:\\x\\[ab]?\\{c}');
    for (const path of ['C:/x/a:*', '//server/*', '\\\\?\\C:\\*', 'C:/x/*|', 'C:/x/*.'])
      expect(() => toNativePattern(path, place), path).toThrow();
    expect(nameTest('*.TXT', true)?.('read.txt')).toBe(true);
  });
});
