import { describe, expect, it } from 'vitest';

import { Patience } from '../../../src/daemon/transfers/patience.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';

/** What is told while something fails so often, and works then. */
const toldOf = async (thrown: LoopsyError, failures: number): Promise<(string | undefined)[]> => {
  const clock = new FakeClock();
  const told: (string | undefined)[] = [];
  const patience = new Patience({
    clock,
    signal: new AbortController().signal,
    patienceMs: 60_000,
    onWaiting: (why) => told.push(why?.error),
  });
  let left = failures;
  const done = patience.persist(async () => {
    left -= 1;
    if (left >= 0) throw thrown;
  });
  await driveClock(clock, done);
  return told;
};

describe('patience', () => {
  it(
    verifies('cli.transfer.rate', 'says what it waits for, and not that a connection was cut for a moment'),
    async () => {
      const away = new LoopsyError('peer_unreachable');
      expect(await toldOf(away, 1)).toEqual([undefined]);
      expect(await toldOf(away, 3)).toEqual([undefined]);
      expect(await toldOf(away, 8)).toEqual(expect.arrayContaining(['peer_unreachable', undefined]));
      const limited = new LoopsyError('rate_limited', { details: { retryAfterMs: 5000 } });
      expect(await toldOf(limited, 1)).toEqual(['rate_limited', undefined]);
    },
  );

  it('has none for what is no absence', async () => {
    await expect(toldOf(new LoopsyError('scope_missing'), 1)).rejects.toMatchObject({ error: 'scope_missing' });
  });
});
