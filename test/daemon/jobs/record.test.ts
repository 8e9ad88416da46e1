import { expect, it } from 'vitest';

import { toJob } from '../../../src/daemon/jobs/record.ts';
import { parseRecord } from '../../../src/daemon/jobs/stored-record.ts';

it('shows how long a run took by the steady clock, whatever the wall clock did meanwhile', () => {
  const record = parseRecord(
    JSON.stringify({
      v: 1, jobId: 'j', command: 'make', args: [], cwd: '/', shell: false, caller: 'owner', fromNodeId: 'a', host: 'h', user: 'u',
      createdAt: 9000, startedAt: 9000, endedAt: 1000, durationMs: 1234.5, endedBy: 'exit', exitCode: 0, outputBytes: 0,
    }), // prettier-ignore
  );
  if (record === undefined) throw new Error('the record was refused');
  expect(toJob(record, undefined)).toMatchObject({ state: 'ended', duration: 1234.5 });
  const { durationMs: _durationMs, ...running } = record;
  expect(toJob(running, undefined)).not.toHaveProperty('duration');
});
