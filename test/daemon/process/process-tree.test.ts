import { spawn } from 'node:child_process';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { type ProcessRow, readProcesses } from '../../../src/daemon/process/process-table.ts';
import { ProcessTree } from '../../../src/daemon/process/process-tree.ts';
import { NO_PROC } from '../../helpers/process-facts.ts';
import { lives, until } from '../jobs/setup.ts';

const ROOT = 5000;

/** A row; `begun` stands for when its process began. */
const row = (pid: number, more: Partial<ProcessRow> = {}): ProcessRow => ({
  pid,
  ppid: 1,
  pgid: pid,
  session: 0,
  token: 'begun',
  isZombie: false,
  ...more,
});

/** A tree of a machine with these processes; `set` changes them. No signal leaves this process: they are written down. */
const treeOf = (...rows: ProcessRow[]): { tree: ProcessTree; set: (...now: ProcessRow[]) => void; sent: string[] } => {
  let table = rows;
  const sent: string[] = [];
  vi.spyOn(process, 'kill').mockImplementation((pid, signal) => {
    if (signal !== 0 && signal !== 'SIGCONT') sent.push(`${pid} ${String(signal)}`);
    return true;
  });
  const read = (): Promise<Map<number, ProcessRow>> => Promise.resolve(new Map(table.map((one) => [one.pid, one])));
  return { tree: new ProcessTree(ROOT, 'linux', read), set: (...now) => (table = now), sent };
};

const root = row(ROOT, { ppid: process.pid, session: ROOT });

describe('the signals of a tree', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('reach groups and sessions that its processes have founded, each once, and no process that is none of it', async () => {
    const { tree, sent } = treeOf(
      row(1, { ppid: 0, pgid: 1, session: 1 }),
      row(4000),
      root,
      row(5001, { ppid: ROOT, pgid: ROOT, session: ROOT }),
      row(5002, { ppid: 5001, pgid: 5002, session: ROOT }),
      row(5003, { ppid: 5002, pgid: 5002, session: ROOT }),
      row(5004, { ppid: 5003, pgid: 5004, session: 5004 }),
      row(6000, { ppid: 4000 }),
    );
    expect(await tree.look(false)).toBe(true);
    expect(tree.signal('SIGTERM')).toBe(true);
    expect(sent).toEqual([`-${ROOT} SIGTERM`, '-5002 SIGTERM', '-5004 SIGTERM']);
  });

  it('reach what lost its parent in a session or group of its', async () => {
    const { tree, sent } = treeOf(
      row(5002, { session: ROOT }),
      row(5003, { ppid: 5002, pgid: 5003, session: 5003 }),
      row(5004, { pgid: 5003, session: 5003 }),
    );
    await tree.look(true);
    tree.signal('SIGKILL');
    expect(sent.slice(1)).toEqual(['-5002 SIGKILL', '-5003 SIGKILL']);
  });

  it('reach a process alone where its group is somebody else’s', async () => {
    const { tree, sent } = treeOf(root, row(4000), row(5001, { ppid: ROOT, pgid: 4000 }));
    await tree.look(false);
    tree.signal('SIGKILL');
    expect(sent).toEqual([`-${ROOT} SIGKILL`, '5001 SIGKILL']);
  });

  it('never reach the first process of the machine, the kernel’s, or this one, whatever their rows say', async () => {
    const { tree, sent } = treeOf(
      root,
      row(1, { ppid: ROOT, pgid: 1 }),
      row(0, { ppid: ROOT, pgid: 0 }),
      row(process.pid, { ppid: ROOT }),
      row(5001, { ppid: ROOT, pgid: 1 }),
      row(5002, { ppid: ROOT, pgid: 0 }),
      row(5003, { ppid: ROOT, pgid: process.pid }),
    );
    await tree.look(false);
    tree.signal('SIGKILL');
    expect(sent).toEqual([`-${ROOT} SIGKILL`, '5001 SIGKILL', '5002 SIGKILL', '5003 SIGKILL']);
  });

  it('never reach a process that got the number of one that is gone, nor what that one has started', async () => {
    const { tree, set, sent } = treeOf(root, row(5001, { ppid: ROOT }));
    await tree.look(false);
    set(root, row(5001, { token: 'later' }), row(5002, { ppid: 5001, pgid: 5001 }));
    await tree.look(false);
    tree.signal('SIGKILL');
    expect(sent).toEqual([`-${ROOT} SIGKILL`]);
  });

  it('never reach the group of another process that got the number of the first one', async () => {
    const { tree, set, sent } = treeOf(root, row(5001, { ppid: ROOT }));
    await tree.look(false);
    set(row(ROOT, { ppid: 4000, token: 'later' }), row(5001), row(5002, { ppid: ROOT, pgid: ROOT }));
    expect(await tree.look(true)).toBe(true);
    tree.signal('SIGKILL');
    expect(sent).toEqual(['-5001 SIGKILL']);
    set(row(ROOT, { ppid: 4000, token: 'later' }));
    expect(await tree.look(true)).toBe(false);
    expect(tree.lives).toBe(false);
  });

  it('wait for no zombie', async () => {
    const { tree } = treeOf(row(5001, { session: ROOT, isZombie: true }), row(ROOT, { isZombie: true }));
    expect(await tree.look(false)).toBe(false);
  });
});

describe('the processes of a machine', () => {
  // Linux has a ps that understands the same words as that of macOS.
  it.for([
    ['linux', NO_PROC],
    ['darwin', process.platform === 'win32' ? 'needs ps' : undefined],
  ] as const)('are found with parent, group and begin, as on %s', async ([platform, missing], { skip }) => {
    skip(missing !== undefined, missing);
    const { pid = 0 } = spawn('sh', ['-c', 'sleep 60 & wait'], { detached: true, stdio: 'ignore' });
    const find = async (): Promise<ProcessRow[]> =>
      [...(await readProcesses(platform)).values()].filter(({ pgid }) => pgid === pid);
    await until(async () => (await find()).length === 2);
    const [shell, child] = await find();
    expect(shell).toMatchObject({ pid, ppid: process.pid, isZombie: false, token: expect.stringMatching(/\d/) });
    expect(child).toMatchObject({ ppid: pid, isZombie: false });
    expect(await find()).toEqual([shell, child]);
    const tree = new ProcessTree(pid, platform);
    await tree.look(false);
    tree.signal('SIGKILL');
    await until(() => !lives(child?.pid ?? 0));
  });

  it('are read once for all who ask while a look is under way, and anew for who comes later', async () => {
    const first = readProcesses('linux');
    const [second, third] = [readProcesses('linux'), readProcesses('linux')];
    expect(second).toBe(third);
    expect(second).not.toBe(first);
    await second;
    expect(readProcesses('linux')).not.toBe(second);
  });
});
