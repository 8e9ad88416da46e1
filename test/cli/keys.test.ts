import { describe, expect, it } from 'vitest';

import { verifies } from '../requirements.ts';
import { FakeNode } from './fake-node.ts';
import { runCli } from './run-cli.ts';

describe('keys', () => {
  it('lists keys without a word on their use, which nothing records', async () => {
    const node = await FakeNode.start();
    const { stdout } = await runCli(['key', 'list'], { dataDir: node.folder });
    expect(stdout.split('\n')[0]?.trim()).toMatch(/^NAME +KIND +GRANT$/);
  });

  it(
    verifies(
      'cli.key-show',
      'never sends a key to a terminal’s neighbour: `key show` without a terminal needs --reveal',
    ),
    async () => {
      const node = await FakeNode.start();
      const hidden = await runCli(['key', 'show'], { dataDir: node.folder });
      expect(hidden).toMatchObject({ code: 2, stdout: '' });
      expect(hidden.stderr).toContain('--reveal');
      expect((await runCli(['key', 'show', '--json'], { dataDir: node.folder })).code).toBe(2);
      expect((await runCli(['key', 'show'], { dataDir: node.folder, tty: true })).stdout).toContain('a'.repeat(64));
    },
  );

  it(
    verifies(
      'cli.key-show',
      'never sends a new key to a pipe by chance: `key generate` refuses before it replaces anything',
    ),
    async () => {
      const node = await FakeNode.start();
      for (const json of [[], ['--json']]) {
        const refused = await runCli(['key', 'generate', ...json], { dataDir: node.folder });
        expect(refused.code).toBe(2);
        expect(`${refused.stdout}${refused.stderr}`).toMatch(/not replaced[^]*--reveal/);
      }
      expect(node.inputs('key.generate')).toEqual([]);
      const shown = await runCli(['key', 'generate'], { dataDir: node.folder, tty: true });
      expect(shown.stdout).toContain('b'.repeat(64));
    },
  );
});
