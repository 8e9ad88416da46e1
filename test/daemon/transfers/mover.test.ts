import { describe, expect, it } from 'vitest';

import type { SourceEnd, TargetEnd } from '../../../src/daemon/transfers/ends.ts';
import { ENTRY, type Group } from '../../../src/daemon/transfers/format.ts';
import { Mover } from '../../../src/daemon/transfers/mover.ts';
import { Progress } from '../../../src/daemon/transfers/progress.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { isRecord } from '../../../src/protocol/record.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';

/** One tree in many parts: each begins a folder, and has a file of the one before. */
const partAt = (at: number, last: number): Group => ({
  entries: [
    ...(at === 0 ? [] : [[ENTRY.file, 0, `folder ${at - 1}/file`, 0, 1, 0o644] as const]),
    [ENTRY.folder, 0, `folder ${at}`, 0, 1, 0o755],
  ],
  failed: [],
  files: at === 0 ? 0 : 1,
  bytes: 0,
  last: at === last,
});

const sourceOf = (parts: number): SourceEnd => ({
  place: { name: 'here', nodeId: 'here' },
  partBytes: 1,
  open: async () => ({
    endId: 's',
    platform: 'linux',
    roots: [{ name: 'tree', path: '/tree', type: 'directory' }],
    failures: [],
  }),
  read: async (want) => {
    if (want.kind !== 'group') throw new Error(`nobody asks for ${want.kind}`);
    return (async function* () {
      yield Buffer.from(JSON.stringify(partAt(want.at, parts - 1)));
    })();
  },
  close: async () => undefined,
});

describe('a tree in many parts', () => {
  it(
    verifies(
      'transfers.plan-order',
      'is planned part by part, however long one takes: a folder is there before what is in it',
    ),
    async () => {
      const folders = new Set<string>();
      const missing: string[] = [];
      let planning = 0;
      const target: TargetEnd = {
        place: { name: 'there', nodeId: 'there' },
        open: async () => ({ endId: 't', platform: 'linux', paths: ['/there/tree'] }),
        write: async (step, body) => {
          if (step !== 'plan') return {};
          const nth = (planning += 1);
          // The first ones take longest.
          await new Promise((resolve) => setTimeout(resolve, 20 - 4 * nth));
          const group: unknown = JSON.parse(typeof body === 'string' ? body : '{}');
          const entries =
            isRecord(group) && Array.isArray(group['entries']) ? (group['entries'] as Group['entries']) : [];
          for (const [kind, , path] of entries) {
            if (kind === ENTRY.folder) folders.add(path);
            else if (!folders.has(path.slice(0, path.lastIndexOf('/')))) missing.push(path);
          }
          return { send: [], compare: [], check: [], failed: [], skipped: 0, skippedBytes: 0, folders: 1, links: 0 };
        },
        put: async () => undefined,
        close: async () => undefined,
      };
      const progress = new Progress(() => undefined);
      const mover = new Mover({
        ends: { source: () => sourceOf(5), target: () => target },
        input: { sources: ['/tree'], dest: '/there/' },
        progress,
        clock: new FakeClock(),
        boot: 'b',
        signal: new AbortController().signal,
        patienceMs: 1000,
        throttle: undefined,
      });
      await mover.run();
      expect([missing, folders.size, progress.folders]).toEqual([[], 5, 5]);
    },
  );
});

describe('a target that is away while the source is there', () => {
  it(
    verifies('transfers.away', 'is waited for and then named as the reason; the source is not asked again and again'),
    async () => {
      const clock = new FakeClock();
      const endless = new AbortController();
      clock.after(200_000, () => endless.abort());
      const waits: (string | undefined)[] = [];
      const progress: Progress = new Progress(() => waits.push(progress.waiting?.error));
      const asked = { source: 0, target: 0 };
      const source = sourceOf(1);
      const target: TargetEnd = {
        place: { name: 'there', nodeId: 'there' },
        open: async () => {
          asked.target += 1;
          throw new LoopsyError('peer_unreachable');
        },
        write: async () => undefined,
        put: async () => undefined,
        close: async () => undefined,
      };
      const open: SourceEnd['open'] = (input) => {
        asked.source += 1;
        return source.open(input);
      };
      const mover = new Mover({
        ends: { source: () => ({ ...source, open }), target: () => target },
        input: { sources: ['/tree'], dest: '/there/' },
        progress,
        clock,
        boot: 'b',
        signal: endless.signal,
        patienceMs: 60_000,
        throttle: undefined,
      });
      await expect(driveClock(clock, mover.run())).rejects.toMatchObject({ error: 'peer_unreachable' });
      expect(clock.monotonicMs()).toBeLessThan(65_000);
      expect([progress.waiting?.error, waits.filter((why) => why === undefined)]).toEqual(['peer_unreachable', []]);
      expect([asked.source, asked.target > 10]).toEqual([1, true]);
    },
  );
});
