import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { FakeNode, STATUS } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const CODE = '482913';
const ID = '0123456789abcdef';
const OTHER = {
  nodeId: 'k'.repeat(32),
  name: 'kai',
  proposedName: 'kai',
  address: '192.168.1.7',
  port: 19532,
  version: '2.0.0',
  trusted: false,
};
const CONFIRM = { active: true, state: 'confirm', revision: 2, role: 'host', id: ID, sas: '048225', peer: OTHER };
const DONE = { active: false, state: 'completed', revision: 3, role: 'host', peer: OTHER, bothSaidYes: true };

/** A node that waits for this side's yes, and is paired once it took one. */
const waiting = async (take: (times: number) => void): Promise<FakeNode> => {
  const node = await FakeNode.start();
  let times = 0;
  let isKept = false;
  node.on('pair.start', () => ({ id: ID, inviteCode: CODE, expiresAt: 300_000, addresses: ['192.168.1.20:19532'] }));
  node.on('pair.status', () => (isKept ? DONE : CONFIRM));
  node.on('pair.confirm', () => {
    take((times += 1));
    isKept = true;
    return { success: true, message: 'your yes is kept', peer: OTHER };
  });
  return node;
};

describe('pair', () => {
  it('says what this side chose when it begins, and where to type what', async () => {
    const node = await waiting(() => undefined);
    const { code, stdout } = await runCli(['pair', '--yes', '--name', 'desk', '--grant', 'observe'], {
      dataDir: node.folder,
    });
    expect(code).toBe(0);
    expect(node.inputs('pair.start')).toEqual([{ name: 'desk', grant: 'observe' }]);
    expect(node.inputs('pair.confirm')).toEqual([{ confirmed: true, role: 'host', id: ID, sas: '048225' }]);
    expect(stdout).toContain('4 8 2   9 1 3');
    expect(stdout).toContain('On the other machine: loopsy pair 192.168.1.20\n');
    expect(stdout).toContain(
      'The other machine is kai (kkkkkkkk, at 192.168.1.7).\nWith your yes it may see the state of this node',
    );
    expect(stdout).toContain('Paired with kai.');
  });

  it('names the port where it is not the usual one, and what to do where nobody can reach this node', async () => {
    const node = await waiting(() => undefined);
    node.on('system.status', () => ({ ...STATUS, addresses: ['10.0.0.1:19600', '10.0.0.2:19600'] }));
    const far = await runCli(['pair', '--yes'], { dataDir: node.folder });
    expect(far.stdout).toContain(
      'On the other machine: loopsy pair 10.0.0.1:19600\n(this machine also has 10.0.0.2:19600)',
    );
    node.on('system.status', () => ({ ...STATUS, addresses: [] }));
    const alone = await runCli(['pair', '--yes'], { dataDir: node.folder });
    expect(alone.stderr).toContain('No other machine can reach this node where it listens now');
  });

  it('says a yes again that could not be kept, and tells why', async () => {
    const clock = new FakeClock();
    const node = await waiting((times) => {
      if (times < 3)
        throw new LoopsyError('internal', {
          message: 'your yes could not be kept: the disk is full',
          hint: 'make room',
        });
    });
    const { code, stdout, stderr } = await driveClock(
      clock,
      runCli(['pair', '--yes'], { dataDir: node.folder, clock }),
    );
    expect([code, stdout]).toEqual([0, expect.stringContaining('Paired with kai.')]);
    expect(stderr.match(/loopsy: your yes could not be kept: the disk is full\n {2}make room\n/g)).toHaveLength(2);
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(6000);
  });

  it('does not know whether a yes was kept that the node did not answer, and says so', async () => {
    const node = await waiting(() => {
      throw new LoopsyError('outcome_unknown');
    });
    const { code, stderr } = await runCli(['pair', '--yes'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([5, expect.stringContaining('whether your yes was kept is not known')]);
    expect(stderr).toContain('`loopsy peers`');
  });

  it('says which name is taken, also where it asks nothing', async () => {
    const node = await waiting(() => undefined);
    const clash = { name: 'kai', nodeId: 'o'.repeat(32) };
    node.on('pair.status', () =>
      node.inputs('pair.confirm').length > 0 ? DONE : { ...CONFIRM, peer: { ...OTHER, name: 'kai-2', clash } },
    );
    const { stdout } = await runCli(['pair', '--yes'], { dataDir: node.folder });
    expect(stdout).toContain('Another machine is called kai here (oooooooo), with another key');
    expect(stdout).toContain('the new one is called kai-2.');
  });

  it('reads a code from stdin, so that no list of processes shows it', async () => {
    const node = await waiting(() => undefined);
    node.on('pair.join', () => ({ id: ID, state: 'exchanging' }));
    const options = { dataDir: node.folder, stdin: `loopsy-${'a'.repeat(32)}-${'b'.repeat(26)}\nand more` };
    const { code } = await runCli(['pair', 'kai.local', '--code', '-', '--yes'], options);
    expect(code).toBe(0);
    expect(node.inputs('pair.join')).toEqual([
      { address: 'kai.local', code: `loopsy-${'a'.repeat(32)}-${'b'.repeat(26)}` },
    ]);
    const empty = await runCli(['pair', 'kai.local', '--code', '-', '--yes'], { dataDir: node.folder, stdin: '' });
    expect([empty.code, empty.stderr]).toEqual([2, expect.stringContaining('reads the code from stdin')]);
  });

  it('leaves alone what another command has open, where nobody can be asked', async () => {
    const node = await waiting(() => undefined);
    node.on('pair.start', () => {
      throw new LoopsyError('pair_open');
    });
    const { code, stderr } = await runCli(['pair', '--yes'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([1, expect.stringContaining('`loopsy pair` goes on with it')]);
    expect(node.inputs('pair.confirm')).toEqual([]);
  });

  it.each([
    [['pair'], 'nobody can answer here'],
    [['pair', '10.0.0.7', '--yes'], 'needs --code'],
    [['pair', '10.0.0.7', '--invite'], 'an address or a --code enters one'],
    [['pair', '--yes', '--grant', 'everything'], 'is no level'],
    [['pair', 'a b', '--yes', '--code', CODE], 'is no address'],
  ])('refuses %j', async (argv, message) => {
    const node = await FakeNode.start();
    const { code, stderr } = await runCli(argv, { dataDir: node.folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(node.seen.filter(({ id }) => id.startsWith('pair.'))).toEqual([]);
  });
});
