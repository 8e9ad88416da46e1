import { describe, expect, it } from 'vitest';

import type { SourceEnd, TargetEnd } from '../../../src/daemon/transfers/ends.ts';
import { ENTRY, type Entry, type Group } from '../../../src/daemon/transfers/format.ts';
import { Mover } from '../../../src/daemon/transfers/mover.ts';
import { Progress } from '../../../src/daemon/transfers/progress.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';

const FILES = [1, 1500] as const;

/** One file first, then so many that they travel in more batches than go at once. */
const groupAt = (at: number): Group => {
  const count = FILES[at] ?? 0;
  const entries = Array.from({ length: count }, (_, file): Entry => [ENTRY.file, 0, `${at} ${file}`, 0, 1, 0o644]);
  return { entries, failed: [], files: count, bytes: 0, last: at === FILES.length - 1 };
};

const source: SourceEnd = {
  place: { name: 'here', nodeId: 'here' },
  partBytes: 1,
  open: async () => ({
    endId: 's',
    platform: 'linux',
    roots: [{ name: 'tree', path: '/tree', type: 'directory' }],
    failures: [],
  }),
  read: async (want) =>
    (async function* () {
      yield Buffer.from(want.kind === 'group' ? JSON.stringify(groupAt(want.at)) : '');
    })(),
  close: async () => undefined,
};

/** As the way to a peer ends what nobody waits for. */
const abandoned = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(new LoopsyError('execution_cancelled', { message: 'the request was abandoned' }));
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });

describe('a target that was started anew in the middle', () => {
  it(
    verifies('transfers.away', 'is opened again when nothing of the first attempt goes on, and keeps nobody waiting'),
    async () => {
      let opened = 0;
      const late: string[] = [];
      const target = (signal: AbortSignal): TargetEnd => {
        const nth = (opened += 1);
        return {
          place: { name: 'there', nodeId: 'there' },
          open: async () => ({ endId: 't', platform: 'linux', paths: ['/there/tree'] }),
          write: async (step, body) => {
            if (nth < opened) late.push(step);
            if (step === 'plan') {
              const { entries } = JSON.parse(typeof body === 'string' ? body : '{}') as { entries: Entry[] };
              const send = [...entries.keys()];
              return { send, compare: [], check: [], failed: [], skipped: 0, skippedBytes: 0, folders: 0, links: 0 };
            }
            if (step !== 'batch' || typeof body === 'string') return {};
            const header = JSON.parse(await headerOf(body)) as unknown[];
            if (nth > 1) return { done: header.length, failed: [] };
            if (header.length > 1) return abandoned(signal);
            // The others are on their way by then.
            await new Promise((resolve) => setTimeout(resolve, 50));
            throw new LoopsyError('transfer_not_found');
          },
          put: async () => undefined,
          close: async () => undefined,
        };
      };
      const clock = new FakeClock();
      const progress = new Progress(() => undefined);
      const mover = new Mover({
        ends: { source: () => source, target },
        input: { sources: ['/tree'], dest: '/there/' },
        progress,
        clock,
        boot: 'b',
        signal: new AbortController().signal,
        patienceMs: 60_000,
        throttle: undefined,
      });
      await driveClock(clock, mover.run());
      expect([opened, late, progress.files]).toEqual([
        2,
        [],
        { found: FILES[0] + FILES[1], done: FILES[0] + FILES[1], skipped: 0, failed: 0 },
      ]);
      expect(clock.monotonicMs()).toBeLessThan(5000);
    },
  );
});

const headerOf = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return bytes.subarray(4, 4 + bytes.readUInt32BE()).toString();
};
