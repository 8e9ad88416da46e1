import { describe, expect, it } from 'vitest';

import { JobRecords } from '../../../src/daemon/jobs/records.ts';
import type { JobRecord } from '../../../src/daemon/jobs/stored-record.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { silentLog } from '../edge/listening.ts';

const record = (jobId: string, more: Partial<JobRecord> = {}): JobRecord => ({
  v: 1,
  jobId,
  command: 'make',
  args: [],
  cwd: '/',
  shell: false,
  caller: 'owner',
  fromNodeId: 'a',
  host: 'h',
  user: 'u',
  createdAt: 1,
  outputBytes: 0,
  ...more,
});

describe('the number of runs', () => {
  it('counts each once, before, while and after it is written, however often it is saved again', async () => {
    const clock = new FakeClock();
    const records = new JobRecords({
      store: openMemoryStore({ clock }),
      clock,
      log: silentLog,
      keepDays: () => 7,
    });
    const run = record('one');
    records.save(run);
    expect(records.count()).toBe(1);
    await records.flush();
    records.save(Object.assign(run, { endedBy: 'exit', endedAt: clock.now() }));
    expect(records.count()).toBe(1);
    await records.flush();
    // What of its output is gone is known only when all of it is on disk.
    records.save(Object.assign(run, { truncated: true }));
    expect(records.count()).toBe(1);
    records.save(record('two', { endedBy: 'exit', endedAt: clock.now() }));
    expect(records.count()).toBe(2);
    const writing = records.flush();
    records.save(run);
    expect(records.count()).toBe(2);
    await writing;
    expect(records.count()).toBe(2);
  });
});
