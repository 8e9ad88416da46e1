import { setImmediate } from 'node:timers/promises';

import { Page } from '../../kernel/page.ts';
import type { Job as JobRow } from '../../protocol/jobs.ts';
import type { JobRecord } from './stored-record.ts';
import type { JobRecords } from './records.ts';

/** Rows of others are passed over; so many times the page are looked at for it. */
const MAX_PASSES = 10;
/** Rows that are read in one turn of the event loop. */
const STEP_ROWS = 100;

/** What a page is made from. */
export interface ListSources {
  /** Runs in memory: they are newer than what the store says of them. */
  readonly live: ReadonlyMap<string, JobRecord>;
  /** Undefined: only what is in memory. */
  readonly stored: JobRecords | undefined;
  readonly show: (record: JobRecord) => JobRow | undefined;
}

/** One page of a list. */
export interface JobPage {
  jobs: JobRow[];
  nextCursor?: string;
}

/** Newest first, behind `cursor`. */
export const listJobs = async (sources: ListSources, cursor: string | undefined, limit: number): Promise<JobPage> => {
  const page = new Page<JobRow>({ limit });
  let after = cursor;
  const step = Math.min(limit, STEP_ROWS);
  for (let looked = 0; looked < MAX_PASSES * limit; looked += step) {
    const { records, floor } = nextRecords(sources, after, step);
    for (const record of records) {
      const row = sources.show(record);
      if (row !== undefined && !page.add(row)) return toJobPage(page, after);
      after = record.jobId;
    }
    if (floor === undefined) return toJobPage(page, undefined);
    after = floor;
    await setImmediate();
  }
  return toJobPage(page, after);
};

const toJobPage = ({ items }: Page<JobRow>, after: string | undefined): JobPage =>
  after === undefined ? { jobs: items } : { jobs: items, nextCursor: after };

const nextRecords = (
  { live, stored }: ListSources,
  after: string | undefined,
  limit: number,
): { records: JobRecord[]; floor: string | undefined } => {
  const page = stored?.page(after, limit) ?? [];
  // Until the store has no more, ids in memory that are older wait for their place.
  const floor = page.at(-1)?.jobId;
  const records = new Map<string, JobRecord>();
  for (const { jobId, record } of page) if (record !== undefined) records.set(jobId, record);
  for (const [jobId, record] of live) {
    if (jobId >= (floor ?? '') && (after === undefined || jobId < after)) records.set(jobId, record);
  }
  return { records: [...records.values()].sort((a, b) => (a.jobId < b.jobId ? 1 : -1)), floor };
};
