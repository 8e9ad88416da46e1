import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { tempFolder } from '../../helpers/temp-folder.ts';
import { FakeNode } from '../fake-node.ts';
import { documentOf, runCli } from '../run-cli.ts';

describe('doctor', () => {
  it('shows what the node finds, and exits 1 if something fails', async () => {
    const node = await FakeNode.start();
    const well = await runCli(['doctor'], { dataDir: node.folder });
    expect(well.stdout).toMatch(/✓ node: .+, up for 2 h on port \d+[^]*✓ disk: 12 GB free[^]*All is well/);
    expect(well).toMatchObject({ code: 0 });
    const failed = {
      name: 'peer maria',
      ok: false,
      level: 'error',
      detail: 'can\u202Enot be reached',
      fix: 'start it',
    };
    node.on('system.doctor', () => ({ checks: [failed] }));
    const ill = await runCli(['doctor'], { dataDir: node.folder });
    expect(ill).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('✗ peer maria: can\\u{202e}not be reached\n    start it'),
    });
    const json = await runCli(['doctor', '--json'], { dataDir: node.folder });
    expect(documentOf('system.doctor', json)).toMatchObject({
      checks: [{ name: 'node', ok: true }, { name: 'version', ok: true }, failed],
    });
  });

  it('says that the running node is not of the version that is installed', async () => {
    const node = await FakeNode.start({
      'system.health': () => ({ status: 'ok', nodeId: 'a'.repeat(32), uptime: 1, version: '1.9.10' }),
    });
    const { code, stdout } = await runCli(['doctor', '--json'], { dataDir: node.folder });
    expect(code).toBe(0);
    const document: { checks: { name: string }[] } = JSON.parse(stdout);
    expect(document.checks.find(({ name }) => name === 'version')).toMatchObject({
      level: 'warning',
      detail: expect.stringContaining('newer than the running node (1.9.10)'),
      fix: expect.stringContaining('loopsy restart'),
    });
  });

  it('finds files that other users can read where the node is down, and closes them with --fix', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'config.yaml'), '', { mode: 0o644 });
    const ill = await runCli(['doctor'], { dataDir: folder, uid: 0 });
    expect(ill.code).toBe(1);
    expect(ill.stdout).toMatch(/✗ files: other users can get at 1 file, e\.g\. .*config\.yaml/);
    expect(ill.stdout).toContain('this is root');
    const node = await FakeNode.start();
    await writeFile(join(node.folder, 'config.yaml'), '', { mode: 0o644 });
    node.on('system.doctor', () => ({
      checks: ['config', 'files'].map((name) => ({ name, ok: true, level: 'ok', detail: 'x' })),
    }));
    const { stdout } = await runCli(['doctor', '--fix'], { dataDir: node.folder });
    expect(stdout).toContain('closed 1 file');
    expect([...stdout.matchAll(/^✓ (\w+):/gm)].map(([, name]) => name)).toEqual(['node', 'version', 'config', 'files']);
    expect((await stat(join(node.folder, 'config.yaml'))).mode & 0o777).toBe(0o600);
  });

  it('says that the node is down, and what to do', async () => {
    const { code, stdout } = await runCli(['doctor'], { dataDir: await tempFolder() });
    expect(code).toBe(1);
    expect(stdout).toContain('loopsy init');
  });
});
