import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { verifies } from '../../requirements.ts';
import { FakeNode, FILE } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const listing = async (files: readonly object[], line: readonly string[] = ['ls', 'maria']): Promise<string[]> => {
  const node = await FakeNode.start({ 'file.list': () => ({ path: '/home/maria', files }) });
  const { code, stdout } = await runCli(line, { dataDir: node.folder });
  expect(code).toBe(0);
  return stdout.trimEnd().split('\n');
};

describe('ls', () => {
  it(verifies('cli.ls', 'shows mode, size, time and name; folders end in /, links say where they lead'), async () => {
    const lines = await listing([
      { ...FILE, name: 'bin', type: 'directory', size: 4096, mode: 0o750 },
      { ...FILE, name: 'grüße\u202E.txt', size: 7 },
      { ...FILE, name: 'link', type: 'symlink', size: 3, mode: 0o777, target: 'bin' },
      { ...FILE, name: 'tool', size: 12_345_678, mode: 0o4755 },
    ]);
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`;
    const wanted = [
      '^maria:/home/maria$',
      '^MODE +SIZE  MODIFIED +NAME$',
      `^drwxr-x---         ${time}  bin/$`,
      `^-rw-r--r--    7 B  ${time}  grüße\\\\u\\{202e\\}\\.txt$`,
      `^lrwxrwxrwx         ${time}  link -> bin$`,
      `^-rwxr-xr-x  12 MB  ${time}  tool$`,
    ];
    expect(lines).toHaveLength(wanted.length);
    for (const [at, pattern] of wanted.entries()) expect(lines[at]).toMatch(new RegExp(pattern));
  });

  it('has no column for modes where the system has none', async () => {
    const { mode, ...file } = FILE;
    expect(mode).toBe(0o644);
    const [place, head] = await listing([file], ['ls', 'localhost', 'C:\\']);
    expect(place).toBe('/home/maria');
    expect(head).toMatch(/^ *SIZE {2}MODIFIED +NAME$/);
  });

  it('says on stderr how many names can not be shown, and calls nothing empty that is not', async () => {
    const files = [FILE];
    const cases: [object, string, string][] = [
      [{ files, unreadable: 1 }, FILE.name, '1 name is not UTF-8 and can not be shown\n'],
      [{ files: [], unreadable: 2 }, 'maria:/home/maria', '2 names are not UTF-8 and can not be shown\n'],
    ];
    for (const [answer, last, words] of cases) {
      const node = await FakeNode.start({ 'file.list': () => ({ path: '/home/maria', ...answer }) });
      const { stdout, stderr } = await runCli(['ls', 'maria'], { dataDir: node.folder });
      expect([stdout.trimEnd().endsWith(last), stdout.includes('empty'), stderr]).toEqual([true, false, words]);
      const json = await runCli(['ls', 'maria', '--json'], { dataDir: node.folder });
      expect([JSON.parse(json.stdout), json.stderr]).toEqual([{ path: '/home/maria', ...answer }, '']);
    }
  });

  it('shows each page as it comes, in the same columns', async () => {
    const page = (names: string[], more = {}) => ({
      path: '/x',
      files: names.map((name) => ({ ...FILE, name })),
      ...more,
    });
    const failing = await FakeNode.start({
      'file.list': ({ input }) => {
        if (input['cursor'] !== undefined) throw new LoopsyError('file_not_found');
        return page(['first'], { nextCursor: 'first' });
      },
    });
    const { code, stdout, stderr } = await runCli(['ls', 'maria'], { dataDir: failing.folder });
    expect([code === 0, stdout.includes('first'), stderr !== '']).toEqual([false, true, true]);
    const node = await FakeNode.start({
      'file.list': ({ input }) => (input['cursor'] === undefined ? page(['a', 'b'], { nextCursor: 'b' }) : page(['c'])),
    });
    const lines = (await runCli(['ls', 'maria'], { dataDir: node.folder })).stdout.trimEnd().split('\n');
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(['maria:/x', 'NAME', 'a', 'b', 'c']);
    expect(new Set(lines.slice(2).map((line) => line.length)).size).toBe(1);
  });

  it('refuses an empty path, which an unset variable leaves', async () => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(['ls', 'maria', ''], { dataDir: node.folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining('one of the paths is empty')]);
  });
});
