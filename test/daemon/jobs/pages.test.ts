import { expect, it } from 'vitest';

import { systemClock } from '../../../src/kernel/clock.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { verifies } from '../../requirements.ts';
import { OWNER, startJobs } from './setup.ts';

it(verifies('rest.lists', 'runs are listed newest first, at most 1,000 or 4 MiB a page'), async () => {
  const store = openMemoryStore({ clock: systemClock });
  const { jobs } = await startJobs({}, { store });
  const ids = Array.from({ length: 2200 }, (_, at) => String(at).padStart(26, '0')).reverse();
  const row = (jobId: string, at: number) => ({
    v: 1, jobId, command: 'true', args: [], cwd: at < 1100 ? '/' : `/${'ä'.repeat(4000)}`, shell: false, createdAt: 1, fromNodeId: 'a', caller: 'owner',
    outputBytes: 0, host: 'h', user: 'u',
  }); // prettier-ignore
  for (let at = 0; at < ids.length; at += 200) {
    await store.commit(
      ids.slice(at, at + 200).map((id, n) => ({ put: `job/${id}`, value: JSON.stringify(row(id, at + n)) })),
    );
  }
  const seen: string[] = [];
  const sizes: number[] = [];
  for (let cursor: string | undefined, more = true; more;) {
    const page = await jobs.list({ state: 'all', limit: 1000, ...(cursor === undefined ? {} : { cursor }) }, OWNER);
    expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(4 * 1_048_576);
    seen.push(...page.jobs.map(({ jobId }) => jobId));
    sizes.push(page.jobs.length);
    cursor = page.nextCursor;
    more = cursor !== undefined;
  }
  expect(seen).toEqual(ids);
  expect(sizes[0]).toBe(1000);
  // Those of 8 kB each fill a page before they are a thousand.
  expect(sizes.slice(1)).toEqual([expect.closeTo(610, -2), expect.closeTo(510, -2), expect.anything()]);
});
