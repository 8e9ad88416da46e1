import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { build } from 'esbuild';
import { expect, it } from 'vitest';

import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';
import { MESSAGE, MESSAGE_ID } from './fake-mail.ts';
import { FakeNode, textOf } from './fake-node.ts';

/** The command as a process of its own. */
const startInbox = async (dataDir: string) => {
  const outdir = await tempFolder();
  await writeFile(join(outdir, 'package.json'), '{"type":"module"}');
  const common = { bundle: true, platform: 'node', format: 'esm', target: 'node20', splitting: true } as const;
  await build({ ...common, logLevel: 'error', entryPoints: ['src/cli/command.ts'], outbase: 'src', outdir });
  return spawn(process.execPath, [join(outdir, 'cli/command.js'), 'message', 'inbox', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: dataDir, LOOPSY_DATA_DIR: dataDir },
  });
};

it(
  verifies('message.taken-once', 'an inbox whose reader has gone takes nothing more, and names what it had in hand'),
  async () => {
    const body = 'x'.repeat(200_000);
    const ids = ['2', '3', '4', '5', '6', '7', '8', '9'].map((end) => `${MESSAGE_ID.slice(0, -1)}${end}`);
    const node = await FakeNode.start({
      'message.list': () => ({ messages: ids.map((id) => ({ ...MESSAGE, id })) }),
      'message.read': ({ input }) => ({ ...MESSAGE, id: input['id'], body }),
    });
    const child = await startInbox(node.folder);
    const [ended, said] = [once(child, 'close'), textOf(child.stderr)];
    child.stdout.once('data', () => child.stdout.destroy());
    const [[code], stderr] = [(await ended) as [number | null], await said];
    const taken = node.inputs('message.read').map(({ id }) => String(id));
    expect(taken.length).toBeLessThan(ids.length);
    const words = new RegExp(`^loopsy: ${taken.at(-1) ?? ''} was taken, and was not shown in full.*\n$`);
    expect({ code, stderr }).toEqual({ code: 141, stderr: expect.stringMatching(words) });
  },
);
