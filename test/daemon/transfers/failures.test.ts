import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { failureGroups, missedWords } from '../../../src/cli/transfer-words.ts';
import { listFiles } from '../../../src/daemon/transfers/single.ts';
import { draftsIn } from '../../helpers/files.ts';
import { until } from '../../helpers/process-facts.ts';
import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('a large file that is appended to while it is sent', () => {
  it(verifies('transfers.source-changes', 'is not sent to its end'), async () => {
    const { home, move, write } = await localNode();
    await write({ large: 'x'.repeat(20_000_000) });
    const moving = move({ sources: ['large'], dest: 'copy', limit: 10_000_000 });
    // Before it is opened, what is appended is a part of it.
    await until(async () => (await draftsIn(home)).length > 0, 10_000);
    await appendFile(join(home, 'large'), 'more');
    const { failures, bytes } = await moving;
    expect(failures).toMatchObject([{ path: 'large', error: 'source_changed' }]);
    expect(bytes.sent).toBeLessThan(16_000_000);
  });
});

describe('a file with the name of a draft', () => {
  it('is left behind, and the end says how many there were', async () => {
    const { move, write } = await localNode();
    await write({
      'tree/a': 'a',
      'tree/.loopsy-0123456789abcdef.part': 'mine',
      'tree/sub/.loopsy-0123456789abcdef.part': '',
    });
    expect(await move({ sources: ['tree'], dest: 'to' })).toMatchObject({
      outcome: 'done',
      files: { found: 1 },
      drafts: 2,
    });
    expect(await move({ sources: ['tree/a'], dest: 'b' })).not.toHaveProperty('drafts');
  });
});

describe('a folder that can not be made at the target', () => {
  it(
    verifies('transfers.counts', 'is said once, with the files in it, and the others arrive: none of it is tried'),
    async () => {
      const { home, move, write } = await localNode();
      await write({ 'tree/a': 'a', 'tree/sub/deep/1': '1', 'tree/sub/2': '2', 'tree/sub2/3': '3', 'to/tree/sub': 'x' });
      const ended = await move({ sources: ['tree'], dest: 'to' });
      expect(ended).toMatchObject({ outcome: 'failed', files: { found: 4, done: 2, failed: 2 } });
      expect(ended.failures).toEqual([
        { path: 'tree/sub', error: 'wrong_type', message: '"tree/sub" is no folder there', at: 'target', files: 2 },
      ]);
      expect(failureGroups(ended, { here: ended.to.nodeId }).flatMap(({ lines }) => lines)).toEqual([
        '"tree/sub" is no folder there, with 2 files in it',
      ]);
      const elsewhere = { ...ended, to: { name: 'maria', nodeId: 'm' } };
      expect(failureGroups(elsewhere, { here: ended.from.nodeId }).flatMap(({ lines }) => lines)).toEqual([
        '"tree/sub" is no folder there, with 2 files in it (on maria)',
      ]);
      expect(missedWords(ended)).toBe('2 of 4 files did not arrive');
      expect(await readFile(join(home, 'to/tree/sub2/3'), 'utf8')).toBe('3');
    },
  );

  it(verifies('transfers.counts', 'is counted over all parts of the manifest'), async () => {
    const { move, write } = await localNode();
    const names = Array.from({ length: 2500 }, (_, index) => [`tree/m/d${index % 7}/f${index}`, '']);
    await write({ ...Object.fromEntries(names), 'tree/z': 'z', 'to/tree/m': 'x' });
    const ended = await move({ sources: ['tree'], dest: 'to' });
    expect(ended).toMatchObject({ files: { found: 2501, done: 1, failed: 2500 }, failures: [{ files: 2500 }] });
  });

  it(verifies('transfers.counts', 'is no file: nothing is removed then, which is none either'), async () => {
    const { move, write } = await localNode();
    await write({ 'tree/a': 'a', 'to/tree/extra': 'x' });
    const { files, failures } = await move({ sources: ['tree', 'missing'], dest: 'to', delete: true });
    expect(files).toMatchObject({ done: 1, failed: 1 });
    expect(failures.map(({ path, files: missed = 1 }) => [path, missed])).toEqual([
      ['missing', 1],
      ['--delete', 0],
    ]);
    expect(failures.at(-1)?.message).toBe(
      'nothing was removed, because not everything could be read at the source or written at the destination',
    );
  });

  it('says that nothing more was removed where something had to make room before', async () => {
    const { move, write } = await localNode();
    await write({ 'tree/a': 'a', 'to/tree/a/x': 'x', 'to/tree/extra': 'x' });
    const choices = { sources: ['tree', 'missing'], dest: 'to', delete: true };
    const dry = await move({ ...choices, dryRun: true });
    const real = await move(choices);
    expect([dry, real].map(({ removed, failures }) => [removed, failures.at(-1)?.message.split(',')[0]])).toEqual([
      [0, 'nothing else would be removed'],
      [1, 'nothing more was removed'],
    ]);
  });

  it('is the destination itself: nothing of it is looked at', async () => {
    const { move, write } = await localNode();
    await write({ 'g/1': '1', 'g/2': '2', 'x.txt': 'x' });
    const ended = await move({ sources: ['g'], dest: 'x.txt' });
    expect(ended).toMatchObject({ outcome: 'failed', error: 'wrong_type', message: '"x.txt" is no folder' });
    expect(ended.failures).toEqual([]);
  });
});

describe('what lies below a file', () => {
  const below = (path: string) => ({
    error: 'wrong_type',
    message: `"${path}" lies below something that is no folder`,
  });

  it.each(['odd/file/x', 'odd/file/x/y', 'odd/file/x/'])('is no destination, and that is said: %s', async (dest) => {
    const { move, write } = await localNode();
    await write({ 'tree/a': 'a', 'odd/file': 'x' });
    for (const source of ['tree', 'tree/.', 'tree/a'])
      for (const choices of [{}, { dryRun: true }])
        expect(await move({ sources: [source], dest, ...choices })).toMatchObject({
          outcome: 'failed',
          ...below(dest),
        });
  });

  it('is no source, and no pattern finds it', async () => {
    const { move, write } = await localNode();
    await write({ 'odd/file': 'x' });
    expect(await move({ sources: ['odd/file/x'], dest: 'to' })).toMatchObject({
      outcome: 'failed',
      ...below('odd/file/x'),
    });
    expect(await move({ sources: ['odd/*/x/*'], dest: 'to' })).toMatchObject({ error: 'file_not_found' });
  });

  it('is in no list', async () => {
    const { transfers, write } = await localNode();
    await write({ 'odd/file': 'x' });
    const list = listFiles(transfers.disk, { path: 'odd/file/x', limit: 10 }, { kind: 'owner' });
    await expect(list).rejects.toMatchObject(below('odd/file/x'));
  });
});
