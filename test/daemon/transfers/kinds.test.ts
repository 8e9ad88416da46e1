import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { localNode, type LocalNode } from './local-setup.ts';

const NO_PIPES = 'Windows has no pipes among its files';

/** At the source a folder, a file, a link; at the target each is something else. */
const changedKinds = async (rules = {}): Promise<LocalNode> => {
  const node = await localNode(rules);
  await node.write({
    'tree/folder/a': 'a',
    'tree/folder/deep/b': 'b',
    'tree/file': 'file',
    'tree/large': 'x'.repeat(2_000_000),
    'tree/pipe': 'p',
    'to/folder': 'was a file',
    'to/file/x/y': 'was a folder',
    'to/file/z.log': 'was a folder',
    'to/large/x': 'was a folder',
    'to/link/x': 'was a folder',
  });
  await symlink('file', join(node.home, 'tree/link'));
  execFileSync('mkfifo', [join(node.home, 'to/pipe')]);
  return node;
};

describe('what became of another kind', () => {
  it(
    verifies('transfers.delete-kinds', 'is replaced with --delete, and the next run finds nothing to do'),
    async ({ skip }) => {
      skip(process.platform === 'win32', NO_PIPES);
      const { home, move } = await changedKinds();
      const first = await move({ sources: ['tree/.'], dest: 'to', delete: true });
      expect(first).toMatchObject({
        outcome: 'done',
        failures: [],
        files: { done: 5, failed: 0 },
        folders: 2,
        links: 1,
      });
      expect(first.removed).toBe(4);
      expect(await readFile(join(home, 'to/folder/deep/b'), 'utf8')).toBe('b');
      expect(await readFile(join(home, 'to/file'), 'utf8')).toBe('file');
      expect((await lstat(join(home, 'to/link'))).isSymbolicLink()).toBe(true);
      const again = await move({ sources: ['tree/.'], dest: 'to', delete: true });
      expect(again).toMatchObject({ outcome: 'done', files: { done: 0, skipped: 5 }, removed: 0 });
    },
  );

  it(
    verifies('transfers.delete-kinds', 'stays without it, and in a dry run, which says the same'),
    async ({ skip }) => {
      skip(process.platform === 'win32', NO_PIPES);
      const { home, move } = await changedKinds();
      const dry = await move({ sources: ['tree/.'], dest: 'to', delete: true, dryRun: true });
      expect(dry).toMatchObject({ outcome: 'done', failures: [], files: { done: 5 }, folders: 2, links: 1 });
      expect(dry.removed).toBe(4);
      for (const choice of [{}, { delete: true, noClobber: true }]) {
        const { failures, files } = await move({ sources: ['tree/.'], dest: 'to', ...choice });
        expect(failures.map(({ path }) => path).filter((path) => path !== '--delete')).toHaveLength(
          'delete' in choice ? 4 : 5,
        );
        expect(files.failed).toBeGreaterThanOrEqual(4);
      }
      expect(await readFile(join(home, 'to/folder'), 'utf8')).toBe('was a file');
      expect(await readdir(join(home, 'to/file'))).toEqual(['x', 'z.log']);
    },
  );

  it(verifies('transfers.delete-kinds', 'stays where something in it is left out, or denied'), async ({ skip }) => {
    skip(process.platform === 'win32', NO_PIPES);
    const { home, move } = await changedKinds();
    const left = await move({ sources: ['tree/.'], dest: 'to', delete: true, exclude: ['*.log'] });
    expect(left.failures.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'tree/file: "tree/file" is a folder there, and in it is what --delete spares or can not remove',
      expect.stringContaining('--delete'),
    ]);
    expect(await readdir(join(home, 'to/file'))).toEqual(['x', 'z.log']);
  });

  it(
    verifies('transfers.delete-kinds', 'loses nothing where the target lets nobody remove some of it'),
    async ({ skip }) => {
      skip(process.platform === 'win32', NO_PIPES);
      const { home, move } = await changedKinds({ denied: ['~/to/file/x/secret'] });
      await mkdir(join(home, 'to/file/x/secret'));
      const what = { sources: ['tree/.'], dest: 'to', delete: true };
      const dry = await move({ ...what, dryRun: true });
      const kept = await move(what);
      for (const { failures, files } of [dry, kept]) {
        expect(failures.map(({ path, error }) => `${path} ${error}`)).toEqual(
          expect.arrayContaining(['tree/file/x/secret path_denied', 'tree/file wrong_type']),
        );
        expect(files).toMatchObject({ failed: 1, done: 4 });
      }
      expect([await readdir(join(home, 'to/file')), await readdir(join(home, 'to/file/x'))]).toEqual([
        ['x', 'z.log'],
        ['secret', 'y'],
      ]);
    },
  );

  it('is denied as a whole, and stays as a whole', async ({ skip }) => {
    skip(process.platform === 'win32', NO_PIPES);
    const { home, move } = await changedKinds({ denied: ['~/to/file/x'] });
    const kept = await move({ sources: ['tree/.'], dest: 'to', delete: true });
    expect(kept.failures.map(({ error }) => error)).toContain('path_denied');
    expect(await readFile(join(home, 'to/file/x/y'), 'utf8')).toBe('was a folder');
  });

  it('is what was named itself: that is never removed', async () => {
    const { home, move } = await localNode();
    await mkdir(join(home, 'to/notes'), { recursive: true });
    await writeFile(join(home, 'notes'), 'x');
    const { failures } = await move({ sources: ['notes'], dest: 'to', delete: true });
    expect(failures.map(({ error }) => error)).toContain('wrong_type');
  });
});
