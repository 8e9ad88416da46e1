import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Transfer } from '../../src/protocol/transfers.ts';
import { hashOf, writeLarge } from '../helpers/files.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

let middle: Machine;
let kai: Machine;
let maria: Machine;

beforeAll(async () => {
  middle = await Machine.create('middle');
  kai = await Machine.create('kai');
  maria = await Machine.create('maria');
  await connectMachines(middle, kai);
  await connectMachines(middle, maria);
}, 60_000);

afterAll(async () => {
  for (const machine of [middle, kai, maria]) await machine?.remove();
});

describe('cp from one peer to another', () => {
  it(verifies('transfers.between', 'passes the bytes through this node, which both of them trust'), async () => {
    const tree = join(kai.home, 'photos');
    await mkdir(join(tree, 'empty'), { recursive: true });
    await writeLarge(join(tree, 'large'), 12_000_000);
    await writeFile(join(tree, 'grüße, 東京'), 'small');
    await symlink('large', join(tree, 'link'));
    await mkdir(join(maria.home, 'backup'));

    const copied = await middle.run(['cp', 'kai:photos', 'maria:backup/']);
    expect(copied).toMatchObject({ code: 0 });
    expect(copied.stdout).toContain('from kai to maria:');
    const there = join(maria.home, 'backup', 'photos');
    expect(await hashOf(join(there, 'large'))).toBe(await hashOf(join(tree, 'large')));
    expect(await readFile(join(there, 'grüße, 東京'), 'utf8')).toBe('small');
    expect((await stat(join(there, 'empty'))).isDirectory()).toBe(true);
    expect(await hashOf(join(there, 'link'))).toBe(await hashOf(join(tree, 'large')));

    const again = await middle.run(['cp', 'kai:photos', 'maria:backup/']);
    expect(again.stdout).toContain('there already');
    // Each sees the node that moved them: it trusts that one, and knows nothing of the other.
    const [seen] = (await maria.json<{ transfers: Transfer[] }>(['transfers', 'list', '--all'])).transfers.slice(-1);
    expect(seen).toMatchObject({ role: 'target', from: { name: 'middle' }, outcome: 'done' });
    expect((await kai.run(['ls', 'maria'])).code).toBe(1);
  });
});
