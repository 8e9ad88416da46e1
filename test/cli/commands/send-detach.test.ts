import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { FakeNode, TRANSFER_ID } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const CWD = '/srv/kai/here';
const SEND = ['send', 'maria', 'x', 'inbox/'];

describe('send --detach', () => {
  it(verifies('cli.transfer.detach', 'prints the id alone, and says on a terminal how to follow it'), async () => {
    const node = await FakeNode.start();
    const detached = [...SEND, '--detach'];
    expect(await runCli(detached, { dataDir: node.folder, cwd: CWD })).toEqual({
      code: 0,
      stdout: `${TRANSFER_ID}\n`,
      stderr: '',
    });
    const input = { to: 'maria', sources: ['/srv/kai/here/x'], dest: 'inbox/', detach: true };
    expect(node.inputs('transfer.start')).toEqual([input]);
    const { stderr } = await runCli(detached, { dataDir: node.folder, tty: true });
    expect(stderr).toBe(`loopsy: it goes on by itself; \`loopsy transfers attach ${TRANSFER_ID}\` follows it\n`);
    expect((await runCli([...detached, '--quiet'], { dataDir: node.folder, tty: true })).stderr).toBe('');
    const json = await runCli([...detached, '--json'], { dataDir: node.folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ transferId: TRANSFER_ID, detached: true });
  });
});
