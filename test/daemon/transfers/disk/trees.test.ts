import * as fc from 'fast-check';
import { chmodSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { timeText } from '../../../../src/daemon/transfers/disk/attributes.ts';
import type { Entry } from '../../../../src/daemon/transfers/format.ts';
import { seedOfRun } from '../../../helpers/seed.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, draftsIn, manifestOf, move, quickFolder, sourceOf, type TestDisk } from './setup.ts';

type Node =
  | { readonly kind: 'file'; readonly bytes: string; readonly mode: number; readonly mtimeMs: number }
  | { readonly kind: 'link'; readonly to: string }
  | { readonly kind: 'folder'; readonly mode: number; readonly nodes: Readonly<Record<string, Node>> };

/** Names that people and programs give, and that some systems have trouble with. */
const nameArbitrary = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom('é', 'e\u0301', 'A', 'a', 'CON', 'x.', ' ', '\n', '\u001b[31m', '\u202egpj.exe', '*', '[a]', '{a,b}'),
  fc.constantFrom('-rf', '~', '.hidden', '...', 'ß', 'İ', 'x'.repeat(255), 'a:b', 'a\\b', '.loopsy', '%2f'),
);
const isUsable = (name: string): boolean =>
  name !== '.' && name !== '..' && !/[/\0]/.test(name) && !/\p{Cs}/u.test(name) && Buffer.byteLength(name) <= 255;

const fileArbitrary = fc.record({
  kind: fc.constant('file' as const),
  bytes: fc.string({ maxLength: 40 }),
  mode: fc.constantFrom(0o644, 0o755, 0o600, 0o444, 0o000, 0o640),
  mtimeMs: fc.oneof(
    fc.integer({ min: -2_000_000_000_000, max: 8_000_000_000_000 }),
    fc.constantFrom(0, -1, 1_700_000_000_123.457, 1),
  ),
});
const linkArbitrary = fc.record({
  kind: fc.constant('link' as const),
  to: fc.constantFrom('a', 'A/x', './a', 'nowhere', 'b/c/d'),
});
const { node: nodeArbitrary } = fc.letrec<{ node: Node; folder: Node }>((tie) => ({
  node: fc.oneof({ depthSize: 'small', withCrossShrink: true }, fileArbitrary, linkArbitrary, tie('folder')),
  folder: fc.record({
    kind: fc.constant('folder' as const),
    mode: fc.constantFrom(0o755, 0o700, 0o555, 0o500, 0o777),
    nodes: fc.dictionary(nameArbitrary.filter(isUsable), tie('node'), { maxKeys: 5 }),
  }),
}));

const build = (path: string, node: Node): void => {
  if (node.kind === 'link') return symlinkSync(node.to, path);
  if (node.kind === 'file') {
    writeFileSync(path, node.bytes);
    utimesSync(path, timeText(node.mtimeMs), timeText(node.mtimeMs));
    return chmodSync(path, node.mode);
  }
  mkdirSync(path);
  for (const [name, child] of Object.entries(node.nodes)) build(join(path, name), child);
  chmodSync(path, node.mode);
};

const manifestIn = async (disk: TestDisk, path: string) => {
  const { source } = await sourceOf(disk, [path]);
  const manifest = await manifestOf(source);
  source.close();
  const byName = (a: readonly unknown[], b: readonly unknown[]): number =>
    String([a[2], a[0]]) < String([b[2], b[0]]) ? -1 : 1;
  return { ...manifest, entries: manifest.entries.toSorted(byName) };
};

/** Times are kept to the microsecond. */
const withoutTime = ([kind, root, path, size, , mode, link]: Entry) => [kind, root, path, size, mode, link];

describe('trees', () => {
  it(
    verifies(
      ['transfers.manifest', 'transfers.modes'],
      'both ends have the same manifest of any tree, and nothing is sent twice',
    ),
    async () => {
      const base = await quickFolder();
      const seed = seedOfRun('trees');
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(nameArbitrary.filter(isUsable), nodeArbitrary, { maxKeys: 6 }),
          async (nodes) => {
            run += 1;
            const home = join(base, String(run));
            mkdirSync(home);
            const disk = diskIn(home);
            build(join(home, 'tree'), { kind: 'folder', mode: 0o755, nodes });
            const before = await manifestIn(disk, '~/tree');
            const moved = await move([disk, disk], [['~/tree'], '~/copy']);
            expect(moved.failed).toEqual(before.failed);
            expect(draftsIn(home)).toEqual([]);
            expect(disk.locks.isFree).toBe(true);
            if (before.failed.length > 0) return;
            const after = await manifestIn(disk, '~/copy');
            expect(after.entries.map(withoutTime)).toEqual(before.entries.map(withoutTime));
            for (const [index, [, , , , mtimeMs]] of after.entries.entries())
              expect(Math.abs(mtimeMs - (before.entries[index]?.[4] ?? 0))).toBeLessThanOrEqual(0.002);
            const again = await move([disk, disk], [['~/tree/'], '~/copy/../copy2']);
            expect(again.failed).toEqual([]);
            const third = await move([disk, disk], [['~/tree/.'], '~/copy2/.']);
            expect(third).toMatchObject({ failed: [] });
            rmSync(home, { recursive: true, force: true });
          },
        ),
        { seed, numRuns: 150 },
      );
    },
    120_000,
  );

  it('a second time nothing is sent, and no mode or time is touched', async () => {
    const base = await quickFolder();
    const home = join(base, 'home');
    mkdirSync(home);
    const disk = diskIn(home);
    build(join(home, 'tree'), {
      kind: 'folder',
      mode: 0o755,
      nodes: {
        f: { kind: 'file', bytes: 'x', mode: 0o444, mtimeMs: 1_700_000_000_123.457 },
        l: { kind: 'link', to: 'f' },
        d: { kind: 'folder', mode: 0o555, nodes: { g: { kind: 'file', bytes: '', mode: 0, mtimeMs: -1500 } } },
      },
    });
    mkdirSync(join(home, 'into'));
    const first = await move([disk, disk], [['~/tree'], '~/into']);
    expect(first).toMatchObject({ failed: [], files: 2, folders: 2, links: 1 });
    const second = await move([disk, disk], [['~/tree'], '~/into']);
    expect(second).toMatchObject({ failed: [], files: 0, skipped: 2, folders: 0, links: 0 });
  });
});
