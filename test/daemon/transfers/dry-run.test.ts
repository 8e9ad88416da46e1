import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { TransferEvent, TransferInput } from '../../../src/protocol/transfers.ts';
import { verifies } from '../../requirements.ts';
import { localNode, type LocalNode } from './local-setup.ts';

/** What the one who begins it reads. */
const eventsOf = async ({ transfers, call }: LocalNode, input: Partial<TransferInput>): Promise<TransferEvent[]> => {
  const stream = await transfers.run({ sources: ['tree/.'], dest: 'to', dryRun: true, ...input }, call);
  const events: TransferEvent[] = [];
  for (let piece = await stream.next(); piece !== undefined; piece = await stream.next())
    events.push(JSON.parse(Buffer.from(piece.bytes).toString()));
  return events;
};

const namedIn = (events: readonly TransferEvent[]): string[] =>
  events.flatMap(({ items = [] }) => items).map(({ action, path }) => `${action} ${path}`);

describe('a dry run', () => {
  it(verifies('transfers.dry-run', 'names what would be sent, replaced and removed, each once'), async () => {
    const node = await localNode();
    await node.write({
      'tree/same': 'same',
      'tree/new/deep/a': 'a',
      'tree/old': 'longer than before',
      'tree/kind': 'a file',
      'to/old': 'before',
      'to/extra': 'x',
      'to/kind/inner/x': 'x',
      'to/folder/kept.log': 'x',
      'to/folder/y': 'y',
      'to/gone/z': 'z',
    });
    await symlink('same', join(node.home, 'tree/link'));
    await node.move({ sources: ['tree/same'], dest: 'to/' });
    const before = await readdir(join(node.home, 'to'), { recursive: true });
    const choices = { delete: true, exclude: ['*.log'] };
    const events = await eventsOf(node, choices);
    expect(namedIn(events).toSorted()).toEqual([
      'remove tree/extra',
      'remove tree/folder/y',
      'remove tree/gone/',
      'remove tree/gone/z',
      'remove tree/kind/inner/',
      'remove tree/kind/inner/x',
      'replace tree/kind',
      'replace tree/old',
      'send tree/link',
      'send tree/new/',
      'send tree/new/deep/',
      'send tree/new/deep/a',
    ]);
    expect(await readdir(join(node.home, 'to'), { recursive: true })).toEqual(before);
    const end = events.at(-1);
    expect(end).toMatchObject({
      type: 'end',
      transfer: { outcome: 'done', removed: 6, files: { done: 3, skipped: 1 } },
    });
    expect(end?.items).toBeUndefined();
    const done = await node.move({ sources: ['tree/.'], dest: 'to', ...choices });
    expect(done).toMatchObject({ files: end?.transfer.files, folders: 2, links: 1, removed: end?.transfer.removed });
  });

  it(verifies('transfers.dry-run', 'names a folder that goes as a whole once'), async () => {
    const node = await localNode();
    await node.write({ 'tree/a': 'a', 'to/gone/deep/z': 'z' });
    expect(namedIn(await eventsOf(node, { delete: true }))).toEqual(['send tree/a', 'remove tree/gone/']);
  });

  it(verifies('transfers.dry-run', 'says what becomes of a link that is in the way of a folder'), async () => {
    const node = await localNode();
    await node.write({ 'tree/d/a': 'a', 'tree/d/deep/b': 'b', 'to/e/deep/x': 'x', 'out/deep/x': 'x' });
    for (const target of ['e', '../out']) {
      await symlink(target, join(node.home, 'to/d'));
      const events = await eventsOf(node, { delete: true });
      expect(namedIn(events).toSorted()).toEqual([
        ...(target === 'e' ? ['remove tree/e/'] : []),
        'replace tree/d/',
        'send tree/d/a',
        'send tree/d/deep/',
        'send tree/d/deep/b',
      ]);
      const done = await node.move({ sources: ['tree/.'], dest: 'to', delete: true });
      const { outcome, files, folders, removed } = events.at(-1)?.transfer ?? {};
      expect(done).toMatchObject({ outcome, files, folders, removed });
      expect(done).toMatchObject({ outcome: 'done', files: { done: 2, failed: 0 } });
      await rm(join(node.home, 'to/d'), { recursive: true });
    }
    expect(await readdir(join(node.home, 'out/deep'))).toEqual(['x']);
  });

  it(verifies('transfers.dry-run', 'waits for its reader, and holds no more than a few groups'), async () => {
    const node = await localNode();
    await mkdir(join(node.home, 'to'));
    await node.write(Object.fromEntries(Array.from({ length: 6000 }, (_, index) => [`tree/f${index}`, ''])));
    const stream = await node.transfers.run({ sources: ['tree/.'], dest: 'to', dryRun: true }, node.call);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { transferId } = (await node.transfers.list({ state: 'all' }, { kind: 'owner' })).transfers[0] ?? {
      transferId: '',
    };
    expect(node.transfers.get({ transferId }, { kind: 'owner' })).toMatchObject({ state: 'running' });
    let named = 0;
    for (let piece = await stream.next(); piece !== undefined; piece = await stream.next()) {
      const { items = [] } = JSON.parse(Buffer.from(piece.bytes).toString()) as TransferEvent;
      expect(items.length).toBeLessThanOrEqual(1000);
      named += items.length;
    }
    expect(named).toBe(6000);
  });

  it('that nobody reads any more ends', async () => {
    const node = await localNode();
    await node.write(Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`tree/f${index}`, ''])));
    const stream = await node.transfers.run({ sources: ['tree'], dest: 'to', dryRun: true }, node.call);
    await new Promise((resolve) => setTimeout(resolve, 300));
    stream.close();
    await expect
      .poll(async () => (await node.transfers.list({ state: 'active' }, { kind: 'owner' })).transfers, {
        timeout: 5000,
      })
      .toEqual([]);
  });
});
