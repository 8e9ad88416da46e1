import { describe, expect, it } from 'vitest';

import { FakeNode, FINGERPRINT, PEER } from '../fake-node.ts';
import { documentOf, runCli } from '../run-cli.ts';

describe('connect', () => {
  it('trusts by fingerprint in a script, and says what to type on the other side', async () => {
    const node = await FakeNode.start();
    const spaced = FINGERPRINT.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:');
    const line = [
      'connect',
      'maria.local:19600',
      '--fingerprint',
      spaced,
      '--yes',
      '--name',
      'maria',
      '--grant',
      'observe',
    ];
    const { code, stdout } = await runCli(line, { dataDir: node.folder });
    expect(code).toBe(0);
    expect(node.inputs('peer.trust')).toEqual([
      { address: 'maria.local', port: 19600, fingerprint: FINGERPRINT, name: 'maria', grant: 'observe' },
    ]);
    expect(stdout).toContain(`loopsy connect 192.168.1.5:19532 --fingerprint ${'00ff'.repeat(16)}`);
    expect(documentOf('peer.trust', await runCli([...line, '--json'], { dataDir: node.folder }))).toBeDefined();
    expect(stdout).not.toContain('this machine also has');
  });

  it('names further addresses of this machine, three at most', async () => {
    const ownAddresses = ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1', '10.0.0.4:1', '10.0.0.5:1'];
    const node = await FakeNode.start({
      'peer.trust': () => ({ peer: PEER, mutual: false, ownFingerprint: FINGERPRINT, ownAddresses }),
    });
    const { stdout } = await runCli(['connect', 'kai', '--fingerprint', FINGERPRINT, '--yes'], {
      dataDir: node.folder,
    });
    expect(stdout).toContain('loopsy connect 10.0.0.1:1 --fingerprint');
    expect(stdout).toContain('this machine also has 10.0.0.2:1, 10.0.0.3:1, 10.0.0.4:1)');
  });

  it.each([
    [['connect', 'kai'], 'nobody can answer here'],
    [['connect', 'kai', '--yes'], '--yes needs --fingerprint'],
    [['connect', '--yes', '--fingerprint', 'x'], 'needs <address>'],
    [['connect', 'kai', '--grant', 'everything'], 'is no level'],
  ])('refuses %j where nobody can be asked', async (argv, message) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(argv, { dataDir: node.folder });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(node.inputs('peer.trust')).toEqual([]);
  });
});
