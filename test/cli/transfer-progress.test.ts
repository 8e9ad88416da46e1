import { describe, expect, it } from 'vitest';

import type { Transfer } from '../../src/protocol/transfers.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';
import { FakeNode, MOVED, TRANSFER, transferEvents } from './fake-node.ts';
import { runCli, type RunOptions } from './run-cli.ts';

describe('the progress of a transfer', () => {
  const half: Transfer = {
    ...TRANSFER,
    files: { found: 30, done: 10, skipped: 2, failed: 0 },
    bytes: { found: 20_000_000, sent: 5_000_000, done: 9_000_000 },
    current: 'x/na\u202Eme.txt',
  };

  /** Each transfer is shown a second after the one before. */
  const shown = async (transfers: readonly Transfer[], options: Partial<RunOptions>, more: readonly string[] = []) => {
    const clock = new FakeClock();
    const node = await FakeNode.start({
      'transfer.run': async (answering) => {
        const { send, end } = transferEvents(answering);
        const files = { found: 0, done: 0, skipped: 0, failed: 0 };
        send('started', { ...TRANSFER, counting: true, files, bytes: { found: 0, sent: 0, done: 0 } });
        for (const transfer of transfers) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          clock.advance(1000);
          send('progress', transfer);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
        send('end', MOVED);
        end();
      },
    });
    return (await runCli(['send', 'maria', 'x', 'inbox/', ...more], { dataDir: node.folder, clock, ...options }))
      .stderr;
  };

  it(
    verifies('cli.transfer.progress', 'is one line on a terminal: bar, files, bytes, rate, time left, name'),
    async () => {
      const counting = { ...half, counting: true, current: undefined };
      const stderr = await shown([counting, half], { tty: true, columns: 120 });
      expect(stderr.split('\r\u001B[K')).toEqual([
        '',
        'counting…',
        'counting…  12/30+ files  9.0 MB/20 MB+  5.0 MB/s',
        '[=========           ]  45%  12/30 files  9.0 MB/20 MB  2.5 MB/s  5 s left  x/na\\u{202e}me.txt',
        '',
      ]);
    },
  );

  it(verifies('cli.transfer.progress', 'has no rate before anything has arrived'), async () => {
    const underWay = { ...half, bytes: { found: 20_000_000, sent: 8_000_000, done: 0 } };
    expect(await shown([underWay, underWay], { tty: true, columns: 120 })).not.toContain('B/s');
  });

  it('fits into a narrow terminal', async () => {
    const stderr = await shown([half], { tty: true, columns: 40 });
    for (const line of stderr.split('\r\u001B[K')) expect(line.length).toBeLessThan(40);
    expect(stderr).toContain(' 45%  12/30 files');
    expect(await shown([half], { tty: true, columns: 60 })).toContain('[====      ]  45%');
  });

  it('says for whom it waits', async () => {
    const waiting = { ...half, state: 'waiting' as const };
    expect(await shown([waiting], { tty: true })).toContain('\r\u001B[Kwaiting for maria …\r');
    const why = { ...waiting, message: 'it is offline' };
    expect(await shown([waiting, why, why], {})).toBe('loopsy: waiting for maria …\n');
    expect(await shown([half, why, half, why], {})).toMatch(/^(loopsy: waiting for maria … \(it is offline\)\n){2}$/);
  });

  it(verifies('cli.transfer.rate', 'says that a machine takes no more for a while, and which'), async () => {
    const limited = {
      ...half,
      state: 'waiting' as const,
      error: 'rate_limited',
      message: 'too many',
      at: 'target' as const,
    };
    expect(await shown([limited, limited], {})).toBe('loopsy: waiting: too many (on maria)\n');
  });

  it(
    verifies('cli.transfer.progress', 'is a plain line every ten seconds elsewhere, and none with --quiet'),
    async () => {
      const many = Array.from({ length: 25 }, (_, at) => ({
        ...half,
        bytes: { ...half.bytes, sent: 5_000_000 + at * 100_000 },
      }));
      const stderr = await shown(many, {});
      expect(stderr).toBe('loopsy: 45%  12/30 files  9.0 MB/20 MB  100 kB/s  1 min 50 s left\n'.repeat(2));
      expect(await shown(many, {}, ['--quiet'])).toBe('');
      expect(await shown(many, { tty: true }, ['--quiet'])).toBe('');
      expect(await shown(many, { tty: true, env: { TERM: 'dumb' } })).toBe(stderr);
    },
  );
});
