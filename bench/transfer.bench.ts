// A large file and many small ones to a peer, beside scp, rsync and a raw TLS stream; then the memory that it takes.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CLI, connectMachines, environment, Machine } from '../test/helpers/nodes.ts';
import { verifies } from '../test/requirements.ts';
import { copyPrograms, runProgram } from './lib/copies.ts';
import { median, report, rssGrowth, rssOf, timeMs, unmeasured } from './lib/measure.ts';
import { servesRawTls, startRawTls } from './lib/raw-tls.ts';
import { NO_SSHD, startSshd } from './lib/sshd.ts';

const BYTES = 1_000_000_000;
const ROUNDS = Number(process.env['ROUNDS'] ?? 9);
const FILES = 10_000;
const MEMORY = '/dev/shm';

/** Each round's time of each case, one after the other, so that whatever else the machine does falls on all of them. */
type Rounds<Name extends string> = Record<Name, number[]>;

const rounds = async <Name extends string>(
  cases: Readonly<Record<Name, () => Promise<number>>>,
  count: number,
): Promise<Rounds<Name>> => {
  // The keys of the record are the names.
  const names = Object.keys(cases) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as unknown as Rounds<Name>;
  for (let at = -1; at < count; at += 1) {
    for (const name of names) {
      const ms = await cases[name]();
      if (at >= 0) times[name].push(ms);
    }
  }
  return times;
};

/** How many times as long as `ours` another case took: the median over the rounds. */
const ratio = (others: readonly number[], ours: readonly number[]): number =>
  median(others.map((ms, at) => ms / (ours[at] ?? Number.NaN)));

const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const main = async (): Promise<void> => {
  const sshd = await startSshd();
  if (sshd === undefined) return unmeasured(['transfer'], NO_SSHD);
  const shm = mkdtempSync(join(MEMORY, 'loopsy-bench-'));
  const disk = mkdtempSync(join(tmpdir(), 'loopsy-bench-'));
  const extra = `rateLimits:\n  transfer: 1000000\ntransfer:\n  allowedPaths: ['~', '${shm}', '${disk}']\n`;
  const [a, b] = [await Machine.create('bench-a', { extra }), await Machine.create('bench-b', { extra })];
  const raw = await startRawTls(import.meta.url, a.path('tls'));
  const { scp, rsync } = copyPrograms(sshd.args);
  const send = (from: string, to: string): Promise<void> =>
    runProgram([process.execPath, CLI, 'send', 'bench-b', from, to], { env: environment(a.home), cwd: a.home });
  /** The time of a copy to where nothing is. */
  const anew = (target: string, copy: () => Promise<void>) => async (): Promise<number> => {
    rmSync(target, { recursive: true, force: true });
    return timeMs(copy);
  };
  try {
    await connectMachines(a, b);
    const large = join(shm, 'large');
    writeLargeFile(large);
    const pids = [(await a.registration()).pid, (await b.registration()).pid];
    await measureMemory(a, pids, [large, join(shm, 'copy')]);
    const before = pids.map(cpuSeconds);
    let runs = 0;
    const times = await rounds(
      {
        loopsy: anew(join(shm, 'copy'), () => ((runs += 1), send(large, join(shm, 'copy')))),
        scpAes128: anew(join(shm, 'scp'), () =>
          runProgram(scp(['-c', 'aes128-gcm@openssh.com'], large, join(shm, 'scp'))),
        ),
        scp: anew(join(shm, 'scp'), () => runProgram(scp([], large, join(shm, 'scp')))),
        rawTls: () => timeMs(() => raw.send(BYTES)),
      },
      ROUNDS,
    );
    const from = Object.fromEntries(Object.entries(times).map(([name, all]) => [name, Math.round(median(all))]));
    const cpu = pids.map((pid, at) => (cpuSeconds(pid) - (before[at] ?? 0)) / runs / (BYTES / 1e9));
    report([
      {
        name: verifies(
          'bench.transfer-scp-aes',
          '1 GB to a peer, in memory: how many times as fast as scp with AES-128',
        ),
        value: ratio(times.scpAes128, times.loopsy),
        unit: 'ratio',
        least: 1.2,
        from,
      },
      {
        name: verifies('bench.transfer-scp', 'the same beside plain scp'),
        value: ratio(times.scp, times.loopsy),
        unit: 'ratio',
        least: 1.5,
      },
      {
        name: verifies('bench.transfer-tls', 'the same beside a raw stream of node:tls'),
        value: ratio(times.rawTls, times.loopsy),
        unit: 'ratio',
        least: 0.4,
      },
      { name: 'processor time of the sending node for 1 GB', value: cpu[0] ?? Number.NaN, unit: 's' },
      { name: 'processor time of the receiving node for 1 GB', value: cpu[1] ?? Number.NaN, unit: 's' },
    ]);
    for (const name of ['copy', 'scp']) rmSync(join(shm, name), { force: true });
    const copying = { send, scp, rsync, anew };
    await measureDisk(copying, large, disk);
    rmSync(large);
    await measureMany(copying, shm, disk);
  } finally {
    raw.stop();
    await a.remove();
    await b.remove();
    await sshd.stop();
    for (const folder of [shm, disk]) rmSync(folder, { recursive: true, force: true });
  }
};

const writeLargeFile = (file: string): void => {
  const piece = randomBytes(1_000_000);
  writeFileSync(file, '');
  for (let at = 0; at < BYTES; at += piece.length) {
    piece.writeUInt32BE(at / piece.length);
    writeFileSync(file, piece, { flag: 'a' });
  }
  if (statSync(file).size !== BYTES) throw new Error('the large file has another size');
};

/** Before anything else is moved: what a node keeps of the first gigabyte. */
const measureMemory = async (
  a: Machine,
  pids: readonly number[],
  [large, copy]: readonly [string, string],
): Promise<void> => {
  const child = a.spawn(['send', 'bench-b', large, copy]);
  const ended = once(child, 'close');
  let cli = 0;
  const look = setInterval(() => void rssOf(child.pid ?? 0).then((rss) => (cli = Math.max(cli, rss || 0))), 20);
  const grown = await Promise.all(pids.map((pid) => rssGrowth(pid, () => ended)));
  clearInterval(look);
  report([
    {
      name: verifies('bench.transfer-memory', 'memory that a node keeps of 1 GB, the larger one of both'),
      value: Math.max(...grown),
      unit: 'MB',
      most: 60,
    },
    {
      name: verifies('bench.transfer-cli', 'memory of the command that sends 1 GB'),
      value: cli / 1e6,
      unit: 'MB',
      most: 120,
    },
  ]);
};

type Anew = (target: string, copy: () => Promise<void>) => () => Promise<number>;

/** What copies are made with, and where. */
interface Copying {
  readonly send: (from: string, to: string) => Promise<void>;
  readonly scp: ReturnType<typeof copyPrograms>['scp'];
  readonly rsync: ReturnType<typeof copyPrograms>['rsync'];
  readonly anew: Anew;
}

const measureDisk = async ({ send, scp, anew }: Copying, large: string, disk: string): Promise<void> => {
  const times = await rounds(
    {
      loopsy: anew(join(disk, 'copy'), () => send(large, join(disk, 'copy'))),
      scp: anew(join(disk, 'scp'), async () => {
        await runProgram(scp(['-c', 'aes128-gcm@openssh.com'], large, join(disk, 'scp')));
        await runProgram(['sync', join(disk, 'scp')]);
      }),
    },
    3,
  );
  report([
    {
      name: '1 GB onto disk, flushed: how many times as fast as scp with AES-128 and sync',
      value: ratio(times.scp, times.loopsy),
      unit: 'ratio',
    },
  ]);
};

const measureMany = async ({ send, scp, rsync, anew }: Copying, shm: string, disk: string): Promise<void> => {
  const many = join(shm, 'many');
  for (let at = 0; at < FILES; at += 1) {
    const folder = join(many, `folder ${at % 100}`);
    if (at < 100) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file ${at}`), randomBytes(4096));
  }
  const to = (name: string): string => join(shm, name);
  for (const name of ['copy', 'rsync']) mkdirSync(to(name));
  const times = await rounds(
    {
      loopsy: anew(to('copy/many'), () => send(many, `${to('copy')}/`)),
      loopsyAgain: () => timeMs(() => send(many, `${to('copy')}/`)),
      rsync: anew(to('rsync/many'), () => runProgram(rsync(many, `${to('rsync')}/`))),
      rsyncAgain: () => timeMs(() => runProgram(rsync(many, `${to('rsync')}/`))),
    },
    ROUNDS,
  );
  const scpTimes = await rounds({ scp: anew(to('scp'), () => runProgram(scp(['-r'], many, to('scp')))) }, 1);
  const onDisk = await rounds({ loopsy: anew(join(disk, 'many'), () => send(many, `${disk}/`)) }, 1);
  const from = Object.fromEntries(
    Object.entries({ ...times, ...scpTimes }).map(([name, all]) => [name, Math.round(median(all))]),
  );
  report([
    {
      name: verifies('bench.transfer-many-scp', '10,000 files of 4 KiB, in memory: how many times as fast as scp -r'),
      value: median(scpTimes.scp) / median(times.loopsy),
      unit: 'ratio',
      least: 2,
      from,
    },
    {
      name: verifies('bench.transfer-many-rsync', 'the same, as a multiple of the time of rsync -a'),
      value: 1 / ratio(times.rsync, times.loopsy),
      unit: 'ratio',
      most: 1.5,
    },
    {
      name: verifies(
        'bench.transfer-again-rsync',
        'the same again, nothing changed, as a multiple of the time of rsync -a',
      ),
      value: 1 / ratio(times.rsyncAgain, times.loopsyAgain),
      unit: 'ratio',
      most: 1.5,
    },
    {
      name: verifies('bench.transfer-again', 'the same again, nothing changed: how many times as fast as the first'),
      value: ratio(times.loopsy, times.loopsyAgain),
      unit: 'ratio',
      least: 10,
    },
    { name: '10,000 files of 4 KiB onto disk, each flushed', value: median(onDisk.loopsy), unit: 'ms' },
  ]);
};

if (!servesRawTls()) await main();
