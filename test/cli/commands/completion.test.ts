import { describe, expect, it } from 'vitest';

import { SCRIPTS } from '../../../src/cli/completion/scripts.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { FakeNode, JOB_ID, PEER, TRANSFER_ID } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const complete = async (dataDir: string, shell: string, line: string): Promise<string[]> => {
  const { code, stdout, stderr } = await runCli(['completion', shell, '--', ...line.split(' ')], { dataDir });
  expect([code, stderr]).toEqual([0, '']);
  return stdout.split('\n').filter((text) => text !== '');
};

describe('completion', () => {
  it('prints the script of a shell, and nothing else', async () => {
    for (const [shell, script] of Object.entries(SCRIPTS)) {
      expect(await runCli(['completion', shell], { dataDir: '/nowhere' })).toEqual({
        code: 0,
        stdout: script,
        stderr: '',
      });
    }
    const json = await runCli(['completion', 'fish', '--json'], { dataDir: '/nowhere' });
    expect(JSON.parse(json.stdout)).toEqual({ shell: 'fish', script: SCRIPTS.fish });
    expect((await runCli(['completion', 'csh'], { dataDir: '/nowhere' })).code).toBe(2);
  });

  it('asks the running node for peers, runs and keys', async () => {
    const node = await FakeNode.start({ 'peer.list': () => ({ peers: [PEER, { ...PEER, name: 'kai' }] }) });
    expect(await complete(node.folder, 'bash', 'exec ')).toEqual(['maria', 'kai']);
    expect(await complete(node.folder, 'bash', 'exec k')).toEqual(['kai']);
    expect(await complete(node.folder, 'zsh', 'exec m')).toEqual(['maria\tonline']);
    expect(await complete(node.folder, 'fish', 'jobs kill --peer maria ')).toEqual([`${JOB_ID}\tended: make test`]);
    expect(node.seen.find(({ id }) => id === 'job.list')?.peer).toBe('maria');
    expect(await complete(node.folder, 'zsh', 'transfers cancel ')).toEqual([
      `${TRANSFER_ID}\trunning 100%: /srv/kai/x`,
    ]);
    expect(await complete(node.folder, 'zsh', 'key revoke ')).toEqual(['ci\tfull']);
    const other = await tempFolder();
    expect(await complete(other, 'bash', `--data-dir ${node.folder} exec k`)).toEqual(['kai']);
  });

  it('fits the word that each shell has in hand', async () => {
    const node = await FakeNode.start();
    expect(await complete(node.folder, 'zsh', 'jobs --peer=ma')).toEqual(['--peer=maria\tonline']);
    // bash hands over `--peer=ma` as three words, and wants the last one alone.
    expect(await complete(node.folder, 'bash', 'jobs --peer = ma')).toEqual(['maria']);
    expect(await complete(node.folder, 'bash', 'jobs --peer =')).toEqual(['maria']);
    expect(await complete(node.folder, 'bash', 'exec kai,ma')).toEqual(['kai,maria']);
    // PowerShell marks the end of the word, since it drops an empty one.
    expect(await complete(node.folder, 'powershell', 'exec .')).toEqual(['maria\tonline']);
    expect(await complete(node.folder, 'powershell', 'exec ma.')).toEqual(['maria\tonline']);
    expect(await complete(node.folder, 'bash', 'exec kai ls ')).toEqual([':files']);
  });

  it('is silent where the node is down, refuses, or takes its time', async () => {
    expect(await complete(await tempFolder(), 'bash', 'exec ')).toEqual([]);
    const node = await FakeNode.start({
      'key.list': () => ({ nonsense: true }),
      'peer.list': () => new Promise(() => {}),
    });
    expect(await complete(node.folder, 'bash', 'key revoke ')).toEqual([]);
    const begun = performance.now();
    const words = ['completion', 'bash', '--', 'exec', ''];
    expect(await runCli(words, { dataDir: node.folder, clock: systemClock })).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(performance.now() - begun).toBeLessThan(500);
  });

  it('offers no word that a shell could take for more than a word', async () => {
    const evil = ['$(rm -rf ~)', '`id`', 'a b', 'a;b', '-rf\u202E', 'ok-1.x_y'];
    const keys = evil.map((name) => ({ name, kind: 'named', grant: { level: 'full', scopes: [], reach: 'all' } }));
    const node = await FakeNode.start();
    node.on(
      'key.list',
      ({ response }) => void response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys })),
    );
    expect(await complete(node.folder, 'bash', 'key revoke ')).toEqual(['ok-1.x_y']);
  });
});
