import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../../src/protocol/errors.ts';
import { openStore } from '../../../src/store/engine.ts';
import { mountSmallDisk } from '../../helpers/small-disk.ts';
import { verifies } from '../../requirements.ts';
import { KeptLog } from '../../store/open.ts';
import { callBy, deskOf, OWNER } from './desk.ts';

const ME = callBy(OWNER);
const VALUE = 'x'.repeat(100_000);

describe('a full disk', () => {
  it(
    verifies(
      'context.full-disk',
      'refuses what is set, with the reason; what is there is read and deleted all the same',
    ),
    async ({ skip }) => {
      const disk = await mountSmallDisk(4096);
      if (disk === undefined) return skip('no small disk can be mounted here');
      const limits = { maxBytes: 1e9, maxBytesPerPeer: 1e9 };
      const desk = await deskOf(limits, (clock) =>
        openStore({ file: join(disk.folder, 'loopsy.db'), clock, log: new KeptLog() }),
      );
      const { context } = desk;
      const keys: string[] = [];
      const fill = async (): Promise<unknown> => {
        for (let at = 0; at < 100; at += 1) {
          const key = `k${at} ${keys.length}`;
          const failed = await context.set({ key, value: VALUE }, ME).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          if (failed !== undefined) return failed;
          keys.push(key);
        }
        return undefined;
      };
      const refused = await fill();
      expect(refused).toBeInstanceOf(LoopsyError);
      expect(refused).toMatchObject({ error: 'disk_full', message: expect.stringContaining('nothing was changed') });
      expect(keys.length).toBeGreaterThan(5);
      for (const key of keys) expect(context.get({ key }).value).toBe(VALUE);
      const [first = '', second = ''] = keys;
      await context.delete({ key: first });
      await context.delete({ key: second });
      expect(() => context.get({ key: first })).toThrow('no key');
      // There is room again.
      await context.set({ key: 'small', value: 'fits' }, ME);
      expect(context.get({ key: 'small' }).value).toBe('fits');
    },
  );
});
