import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import type { Transfer } from '../../../src/protocol/transfers.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';
import { endless, FakeNode, MOVED, moving, PEER, TRANSFER, TRANSFER_ID, transferEvents } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const rows = async (transfers: readonly Transfer[]): Promise<string> => {
  const node = await FakeNode.start({ 'transfer.list': () => ({ transfers }) });
  return (await runCli(['transfers', 'list', '--all'], { dataDir: node.folder })).stdout;
};

describe('transfers list', () => {
  it(
    verifies('cli.transfers.list', 'says what moves from where to where, how far it is, and who began it'),
    async () => {
      const there = { from: TRANSFER.to, to: TRANSFER.from, caller: `peer:${PEER.nodeId}` };
      const stdout = await rows([
        {
          ...TRANSFER,
          bytes: { found: 20_000_000, sent: 1, done: 9_000_000 },
          files: { found: 8, done: 1, skipped: 2, failed: 0 },
        },
        { ...TRANSFER, counting: true, sources: ['/a', '/b', '/c\u202E'], detached: true },
        { ...TRANSFER, state: 'waiting' },
        { ...MOVED, role: 'target', ...there, sources: [], dest: '/srv/kai/inbox', dryRun: true },
        {
          ...MOVED,
          role: 'source',
          outcome: 'failed',
          files: { found: 2, done: 1, skipped: 0, failed: 1 },
          caller: 'key:ci',
        },
      ]);
      const lines = stdout.split('\n');
      expect(lines[0]).toMatch(/^TRANSFER +STATE +FROM → TO +FILES +BYTES +BEGAN +BY +WHAT$/);
      for (const [at, text] of [
        /^01j8\w+ +running 45% +this machine → maria +3\/8 files +9\.0 MB\/20 MB +10 s ago +owner +\/srv\/kai\/x$/,
        /running counting, detached .* 8\/8\+ files .* \/a, \/b and 1 more$/,
        /waiting 100%/,
        /done, dry run +maria → this machine +3 files +20 MB .* maria +\/srv\/kai\/inbox$/,
        /failed: 1 of 2 files .* 1 file +20 MB .* key:ci/,
      ].entries())
        expect(lines[at + 1]).toMatch(text);
    },
  );

  it('shows the end of a path that is long', async () => {
    expect(await rows([{ ...TRANSFER, sources: [`/${'long/'.repeat(20)}name.txt`] }])).toMatch(
      / …[^ ]{31}name\.txt\n$/,
    );
  });
});

describe('transfers show', () => {
  it(verifies('cli.transfers.show', 'says where, what, how far, what did not arrive, and why'), async () => {
    const transfer: Transfer = {
      ...MOVED, outcome: 'failed', error: 'disk_full', message: 'no room', at: 'target', hint: 'make some', removed: 2, checksum: 'c'.repeat(64),
      files: { found: 9, done: 3, skipped: 5, failed: 1 }, failures: [{ path: 'x/a', error: 'disk_full', message: 'no room\n', at: 'target' }],
    }; // prettier-ignore
    const node = await FakeNode.start({ 'transfer.get': () => transfer });
    const { stdout } = await runCli(['transfers', 'show', TRANSFER_ID, '--peer', 'maria'], { dataDir: node.folder });
    for (const line of [
      /^state +failed: 1 of 9 files, disk full$/m,
      /^from +\/srv\/kai\/x$/m,
      /^to +maria:inbox\/$/m,
      /^by +owner$/m,
      /^took +1\.4 s$/m,
      /^files +9\/9 files, 5 were there already, 1 failed, 2 removed$/m,
      /^bytes +20 MB\/20 MB, 12 MB sent$/m,
      /^checksum +c{64}$/m,
      /^error +no room \(on maria\)$/m,
      /^next +make some$/m,
      /^! x\/a: no room\\u\{a\} \(on maria\)$/m,
    ])
      expect(stdout).toMatch(line);
    expect(node.seen.find(({ id }) => id === 'transfer.get')?.peer).toBe('maria');
  });

  it(verifies('cli.transfers.show', 'says why it failed for another node, and what only that one knows'), async () => {
    const there = { from: TRANSFER.to, to: TRANSFER.from, caller: `peer:${PEER.nodeId}` };
    const files = { found: 3, done: 0, skipped: 0, failed: 3 };
    const failed: Transfer = { ...MOVED, ...there, role: 'target', outcome: 'failed', files };
    const full = {
      ...failed,
      error: 'disk_full',
      message: 'no room',
      failures: [{ path: 'x', error: 'disk_full', message: 'no room' }],
    };
    const node = await FakeNode.start({ 'transfer.get': () => full });
    const shown = await runCli(['transfers', 'show', TRANSFER_ID], { dataDir: node.folder });
    expect(shown.stdout).toMatch(/^state +failed: 3 files, disk full$/m);
    expect(shown.stdout).toMatch(/^! x: no room\n! and 2 more$/m);
    expect(shown.stdout).not.toMatch(/^next/m);
    node.on('transfer.get', () => failed);
    const unknown = await runCli(['transfers', 'show', TRANSFER_ID], { dataDir: node.folder });
    expect(unknown.stdout).toMatch(/^! 3 files did not arrive: maria knows why$/m);
  });

  it('says what another node does here', async () => {
    const node = await FakeNode.start({
      'transfer.get': () => ({
        ...TRANSFER,
        role: 'target',
        from: TRANSFER.to,
        to: TRANSFER.from,
        caller: `peer:${PEER.nodeId}`,
      }),
    });
    const { stdout } = await runCli(['transfers', 'show', TRANSFER_ID], { dataDir: node.folder });
    expect(stdout).toMatch(/^from +maria:\/srv\/kai\/x$/m);
    expect(stdout).toMatch(/^by +maria, which writes the files here$/m);
    expect(stdout).not.toMatch(/^(took|error|checksum)/m);
  });
});

describe('transfers cancel', () => {
  it.each([
    [true, 'Ended; what has arrived stays, and the same command goes on where it was.\n'],
    [false, 'Ended. Files that were complete stay, the others are gone, and the sender is told.\n'],
  ])(verifies('transfers.refused', 'says what stays: %s'), async (resumable, text) => {
    const node = await FakeNode.start({
      'transfer.cancel': () => ({ success: true, transferId: TRANSFER_ID, state: 'cancelled', resumable }),
    });
    expect((await runCli(['transfers', 'cancel', TRANSFER_ID], { dataDir: node.folder })).stdout).toBe(text);
  });

  it('says where there was nothing to end', async () => {
    const node = await FakeNode.start({
      'transfer.cancel': () => ({ success: true, transferId: TRANSFER_ID, state: 'ended', resumable: false }),
    });
    const { stdout } = await runCli(['transfers', 'cancel', TRANSFER_ID], { dataDir: node.folder });
    expect(stdout).toBe('It had ended before.\n');
  });
});

describe('transfers attach', () => {
  it(verifies('cli.transfers.attach', 'follows to the end, and exits as the transfer does'), async () => {
    const failed: Transfer = { ...MOVED, outcome: 'failed', error: 'disk_full', message: 'no room' };
    const node = await FakeNode.start({ 'transfer.follow': moving(failed) });
    const { code, stderr } = await runCli(['transfers', 'attach', TRANSFER_ID, '--peer', 'maria'], {
      dataDir: node.folder,
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining('loopsy: no room')]);
    expect(node.seen.find(({ id }) => id === 'transfer.follow')?.peer).toBe('maria');
  });

  it(verifies('cli.transfers.attach', 'leaves it running at Ctrl-C, and says so'), async () => {
    const node = await FakeNode.start({ 'transfer.follow': endless });
    const left = await runCli(['transfers', 'attach', TRANSFER_ID], {
      dataDir: node.folder,
      tty: true,
      onReady: (signal, _, errors) =>
        void (async () => {
          while (errors() === '') await setImmediate();
          signal('SIGINT');
        })(),
    });
    expect(left.code).toBe(130);
    expect(left.stderr).toMatch(
      /\r\u001B\[Kloopsy: the transfer goes on; `loopsy transfers attach \w+` follows it again\n$/,
    );
    expect(node.inputs('transfer.cancel')).toEqual([]);
  });

  it(verifies('cli.transfers.attach', 'goes on when a node is back that was away'), async () => {
    const clock = new FakeClock();
    const node = await FakeNode.start();
    const { port } = node;
    node.on('transfer.follow', async (answering) => {
      transferEvents(answering).send('started', { ...TRANSFER, detached: true });
      node.on('transfer.follow', moving({ ...MOVED, detached: true }));
      await setImmediate();
      setTimeout(() => node.close(), 20);
    });
    const attached = runCli(['transfers', 'attach', TRANSFER_ID], {
      dataDir: node.folder,
      clock,
      onReady: (_, __, errors) =>
        void (async () => {
          while (!errors().includes('the node is away')) await setImmediate();
          node.server.listen(port, '127.0.0.1');
        })(),
    });
    while (node.inputs('transfer.follow').length === 0) await setImmediate();
    expect(await driveClock(clock, attached)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('3 files, 12 MB'),
    });
  });

  it('waits for a node that is away where the transfer outlives it, and gives up where it stays away', async () => {
    const clock = new FakeClock();
    const node = await FakeNode.start();
    node.on('transfer.follow', async (answering) => {
      transferEvents(answering).send('started', { ...TRANSFER, detached: true });
      await setImmediate();
      setTimeout(() => node.close(), 20);
    });
    const attached = runCli(['transfers', 'attach', TRANSFER_ID], { dataDir: node.folder, clock });
    while (node.inputs('transfer.follow').length === 0) await setImmediate();
    const { code, stderr } = await driveClock(clock, attached);
    expect(code).toBe(3);
    expect(stderr.match(/the node is away; the transfer goes on/g)).toHaveLength(1);
  });
});
