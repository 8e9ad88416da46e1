import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { JobRecord } from '../../../src/daemon/jobs/stored-record.ts';
import type { WireAnswers, WireNotice, WirePlan } from '../../../src/daemon/jobs/wire.ts';
import { RunHost } from '../../../src/daemon/supervisor/host.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { allow, lives, sh, until } from '../jobs/setup.ts';

interface Opened {
  readonly host: RunHost;
  readonly dir: string;
  readonly notices: WireNotice[];
}

const openHost = async (): Promise<Opened> => {
  const dir = await tempFolder();
  const notices: WireNotice[] = [];
  const host = new RunHost({
    dir,
    clock: systemClock,
    log: createLog({ level: 'error', clock: systemClock, write: () => undefined }),
    platform: process.platform,
    variables: process.env,
    tell: (notice) => notices.push(notice),
    onIdle: () => undefined,
  });
  await host.open();
  onTestFinished(() => host.endAll());
  return { host, dir, notices };
};

const recordOf = (jobId: string): JobRecord => ({
  v: 1,
  jobId,
  command: 'x',
  args: [],
  cwd: '/',
  shell: true,
  caller: 'owner',
  fromNodeId: 'n',
  host: 'h',
  user: 'u',
  createdAt: 1,
  outputBytes: 0,
  detached: true,
});

const planOf = (line: string): WirePlan => ({
  command: allow(sh(line)),
  shell: { kind: 'sh', file: '/bin/sh' },
  env: { PATH: process.env['PATH'] ?? '' },
  stdin: 'none',
  timeoutMs: 0,
});

const onDisk = async (dir: string, jobId: string): Promise<JobRecord> =>
  JSON.parse(await readFile(join(dir, jobId, 'run.json'), 'utf8')) as JobRecord;

describe('a host of runs', () => {
  it('is asked to end a run right behind its start: it never begins, and that is on disk', async () => {
    const { host, dir } = await openHost();
    const started = host.start(recordOf('a'), planOf(`touch ${dir}/ran`), true);
    host.end('a', 'cancel', undefined);
    expect(await started).toMatchObject({ endedBy: 'cancel' });
    await until(() => host.isIdle);
    expect([await onDisk(dir, 'a'), existsSync(join(dir, 'ran'))]).toMatchObject([{ endedBy: 'cancel' }, false]);
  });

  it('does not say of a run that it began, could not write down and ended that it was not started', async () => {
    const { host, dir } = await openHost();
    await host.start(recordOf('a'), planOf('sleep 30'), false);
    await rm(join(dir, 'a', 'run.json'));
    await mkdir(join(dir, 'a', 'run.json'));
    const { failure, pid = 0 } = await host.go('a');
    expect(failure?.error.message).toContain('the run had begun, could not be written down, and was ended');
    expect(lives(pid)).toBe(false);
    await rm(join(dir, 'a'), { recursive: true });
    await until(() => host.isIdle);
  });

  it('lists its runs in pages, each bounded and none of them empty; whoever asks for no page gets all', async () => {
    const { host } = await openHost();
    const ids = ['c', 'a', 'd', 'b'];
    for (const jobId of ids)
      await host.start(
        { ...recordOf(jobId), cwd: '/'.repeat(jobId === 'd' ? 2_000_000 : 400_000) },
        planOf('x'),
        false,
      );
    const pages: string[][] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const { runs, more }: WireAnswers['list'] = host.list(after);
      pages.push(runs.map(({ jobId }) => jobId));
      after = more === true ? runs.at(-1)?.jobId : undefined;
    }
    expect(pages).toEqual([['a', 'b'], ['c'], ['d']]);
    expect(host.list().runs.map(({ jobId }) => jobId)).toEqual(ids);
  });

  it('that is ending starts nothing more', async () => {
    const { host, dir } = await openHost();
    await host.start(recordOf('a'), planOf(`touch ${dir}/ran`), false);
    const [ended, gone, started] = await Promise.allSettled([
      host.endAll(),
      host.go('a'),
      host.start(recordOf('b'), planOf(`touch ${dir}/ran`), true),
    ]);
    expect([ended, gone]).toMatchObject([{ status: 'fulfilled' }, { value: { endedBy: 'shutdown' } }]);
    expect(started).toMatchObject({ reason: { error: 'node_stopping' } });
    expect([await onDisk(dir, 'a'), existsSync(join(dir, 'ran'))]).toMatchObject([{ endedBy: 'shutdown' }, false]);
  });
});
