import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { joinNetworks } from '../helpers/networks.ts';
import { finished, Machine } from '../helpers/nodes.ts';
import { Side } from '../helpers/sides.ts';
import { verifies } from '../requirements.ts';

const run = promisify(execFile);
let host: Side;
let joiner: Side;

beforeAll(async () => {
  const [maria, kai] = await Promise.all([Machine.create('maria'), Machine.create('kai')]);
  [host, joiner] = [new Side(maria, 'host'), new Side(kai, 'joiner')];
}, 60_000);

afterAll(async () => {
  await host?.machine.remove();
  await joiner?.machine.remove();
});

afterEach(async () => {
  for (const side of [host, joiner]) await side.forget();
});

const addressOf = async ({ machine }: Side): Promise<string> => `127.0.0.1:${(await machine.registration()).port}`;

/** Stops a node, as a closed lid does. @returns what opens it again. */
const closeLid = async ({ machine }: Side): Promise<() => void> => {
  const { pid } = await machine.registration();
  process.kill(pid, 'SIGSTOP');
  return () => void process.kill(pid, 'SIGCONT');
};

describe('the other machine closes its lid', () => {
  it(
    verifies('pair.silence', 'before it says anything: who enters the code reads so at once, and can enter it again'),
    async () => {
      const [at, code] = [await addressOf(host), await host.start()];
      const open = await closeLid(host);
      const askedAt = performance.now();
      try {
        const ended = await joiner.machine.run(['pair', at, '--code', code, '--yes']);
        expect(ended).toMatchObject({
          code: 5,
          stderr: expect.stringContaining(`${at} took the connection, and says nothing`),
        });
        expect(ended.stderr).toContain('awake');
        expect(performance.now() - askedAt).toBeLessThan(8000);
      } finally {
        open();
      }
      expect(await joiner.peers()).toEqual([]);
      await joiner.join({ address: '127.0.0.1', port: Number(at.split(':')[1]), code });
      await joiner.reaches('confirm');
    },
  );

  it('with the number on both screens: the no of who sees it open reaches the other when it wakes', async () => {
    const { port } = await host.machine.registration();
    await joiner.join({ address: '127.0.0.1', port, code: await host.start() });
    await Promise.all([host.reaches('confirm'), joiner.reaches('confirm')]);
    const open = await closeLid(joiner);
    try {
      await host.confirm(false);
      expect(await host.look()).toMatchObject({ state: 'failed', reason: 'you said no: nothing was trusted' });
    } finally {
      open();
    }
    expect(await joiner.reaches('failed')).toMatchObject({ reason: 'the other side said no' });
    expect([await host.peers(), await joiner.peers()]).toEqual([[], []]);
  });
});

describe('the own node ends under a command that waits', () => {
  it('and the command says so and ends', async () => {
    const child = host.machine.spawn(['pair', '--yes']);
    const end = finished(child);
    // The code is shown.
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    try {
      await host.kill();
      const { code, stderr } = await end;
      expect([3, 5]).toContain(code);
      expect(stderr).toMatch(/loopsy: the connection to the node (?:was lost|broke)/);
    } finally {
      await host.machine.start();
    }
  });
});

describe('a machine that can not be reached', () => {
  it(
    verifies(
      'pair.unreachable',
      'is told apart: a filtered port with the command that opens it, a refused one, no way there',
    ),
    { timeout: 40_000 },
    async ({ skip, onTestFinished }) => {
      const networks = await joinNetworks();
      if (typeof networks === 'string') return skip(networks);
      onTestFinished(() => networks.remove());
      const [here, there] = networks.within;
      const nft = async (rule: string): Promise<unknown> =>
        run(there[0] ?? '', [...there.slice(1), 'nft', ...rule.split(' ')]);
      try {
        await nft('add table inet door');
        await nft('add chain inet door in { type filter hook input priority 0 ; }');
        await nft('add rule inet door in tcp dport 19532 drop');
        await nft('add rule inet door in tcp dport 19533 reject with icmpx type admin-prohibited');
      } catch (error) {
        return skip(`needs nft (${error instanceof Error ? error.message.trim() : String(error)})`);
      }
      const machine = await Machine.create('away', { within: here });
      onTestFinished(() => machine.remove());
      const address = networks.addresses[1];
      const tell = async (at: string): Promise<string> => {
        const { code, stderr } = await machine.run(['pair', at, '--code', '123456', '--yes']);
        expect(code).toBe(5);
        return stderr;
      };
      expect(await tell(`${address}:19532`)).toMatch(/no answer from .*sudo ufw allow 19532\/tcp/s);
      expect(await tell(`${address}:19533`)).toMatch(/there is no way from here to .*sudo ufw allow 19533\/tcp/s);
      expect(await tell(`${address}:19534`)).toMatch(/connection refused.*loopsy start/s);
      expect(await tell('192.0.2.1:19532')).toContain('there is no way from here to 192.0.2.1:19532');
      expect(await tell('10.79.0.99:19532')).toMatch(/no answer from 10\.79\.0\.99|no way from here to 10\.79\.0\.99/);
    },
  );
});
