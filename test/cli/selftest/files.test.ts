import { chmod, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { CHECKS } from '../../../src/cli/selftest/checks.ts';
import type { TransferInput } from '../../../src/protocol/transfers.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { FakeNode, MOVED, moving, OUTCOME, PEER, type Answering } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const POSIX = process.platform === 'win32' ? 'win32' : 'linux';

/** A node whose peer has a home of its own; `spoil` may change what has just been moved. */
const copying = async (spoil: (moved: string, input: TransferInput) => Promise<unknown> = async () => undefined) => {
  const there = await tempFolder();
  const node = await FakeNode.start({
    'peer.show': () => ({ ...PEER, platform: POSIX }),
    'transfer.run': async (answering: Answering) => {
      // It has been validated by the table.
      const input = answering.input as TransferInput;
      const real = (name: string): string => (name.startsWith('~/') ? path.join(there, name.slice(2)) : name);
      const [source = ''] = input.sources;
      await cp(real(source), real(input.dest), { recursive: true, verbatimSymlinks: true });
      await spoil(real(input.dest), input);
      moving(MOVED)(answering);
    },
    'job.execute': async ({ input }) => {
      const name = /\.loopsy-selftest-[0-9a-f]{8}/.exec(JSON.stringify(input))?.[0];
      if (name !== undefined) await rm(path.join(there, name), { recursive: true });
      return { ...OUTCOME, stdout: '', stderr: '' };
    },
  });
  const home = await tempFolder();
  const check = async () => {
    const { stdout } = await runCli(['selftest', 'maria', '--json'], { dataDir: node.folder, home, platform: POSIX });
    const document: { checks: { name: string; state: string; detail: string; figures?: object }[] } =
      JSON.parse(stdout);
    const left = [...(await readdir(home)), ...(await readdir(there))];
    return { files: document.checks.find(({ name }) => name === 'files'), left };
  };
  return { node, check };
};

describe('the check of files', () => {
  it(
    verifies('cli.selftest', 'moves a folder there and back, compares all of it, and leaves nothing behind'),
    async () => {
      const { node, check } = await copying();
      const { files, left } = await check();
      expect(files).toMatchObject({
        state: 'passed',
        detail: expect.stringMatching(/^a folder there and back in .* ms, identical; 17 MB at .*\/s$/),
        figures: { filesMs: expect.any(Number), bytesPerSecond: expect.any(Number) },
      });
      expect(left).toEqual([]);
      const [there, back, big] = node.inputs('transfer.run');
      expect(there).toMatchObject({ to: 'maria', dest: expect.stringMatching(/^~\/\.loopsy-selftest-[0-9a-f]{8}$/) });
      expect(back).toMatchObject({ from: 'maria', sources: [there?.['dest']] });
      expect(big).toMatchObject({ to: 'maria', dest: `${String(there?.['dest'])}/big.bin` });
      expect(CHECKS.map(({ name }) => name)).toContain('files');
    },
  );

  it.each<[string, (moved: string) => Promise<unknown>]>([
    ['byte', (moved) => writeFile(path.join(moved, 'random.bin'), 'other')],
    ['name', (moved) => rm(path.join(moved, 'sub', 'grüße, 東京 👋.txt'))],
    ['empty folder', (moved) => rm(path.join(moved, 'sub', 'empty folder'), { recursive: true })],
    ['file too many', (moved) => writeFile(path.join(moved, 'more'), '')],
    ...(POSIX === 'linux'
      ? [
          ['mode', (moved: string) => chmod(path.join(moved, 'tool.sh'), 0o644)] as [
            string,
            (moved: string) => Promise<unknown>,
          ],
        ]
      : []),
  ])('finds another %s, and leaves nothing behind all the same', async (_, spoil) => {
    const { check } = await copying(async (moved, { from }) => {
      if (from !== undefined) await spoil(moved);
    });
    const { files, left } = await check();
    expect(files).toMatchObject({ state: 'failed', detail: expect.stringContaining('is not what was sent') });
    expect(left).toEqual([]);
  });

  it('says why a transfer did not come to its end, and what could not be removed there', async () => {
    const { node, check } = await copying();
    node.on('transfer.run', moving({ ...MOVED, outcome: 'failed', error: 'path_denied', message: 'not here' }));
    expect((await check()).files).toMatchObject({ state: 'failed', detail: 'not here' });
    node.on('transfer.run', moving({ ...MOVED, failures: [{ path: 'x', error: 'disk_full', message: 'full' }] }));
    expect((await check()).files).toMatchObject({ state: 'failed', detail: 'x: full' });
    const other = await copying(async (moved) => mkdir(`${moved}.kept`));
    other.node.on('job.execute', () => ({ ...OUTCOME, exitCode: 1, stdout: '', stderr: 'find: busy\n' }));
    const { files, left } = await other.check();
    expect(files).toMatchObject({
      state: 'failed',
      detail: expect.stringMatching(/^~\/\.loopsy-selftest-\w+ could not be removed there: find: busy$/),
    });
    expect(left.length).toBeGreaterThan(0);
  });
});
