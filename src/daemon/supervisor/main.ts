import { randomBytes } from 'node:crypto';
import { closeSync, writeSync } from 'node:fs';
import { rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setFlagsFromString } from 'node:v8';

import { LATER_FLAGS } from '../../config/node-flags.ts';
import { writeFileAtomic } from '../../kernel/atomic-file.ts';
import { systemClock as clock } from '../../kernel/clock.ts';
import { createLog } from '../../kernel/log.ts';
import { VERSION } from '../../protocol/version.ts';
import type { SupervisorEntry, WireAsked } from '../jobs/wire.ts';
import { readToken } from '../process/process-identity.ts';
import { Door } from './door.ts';
import { watchForsaken } from './forsaken.ts';
import { RunHost } from './host.ts';
import { logTo } from './log-file.ts';
import { secureSocketFolder, socketPath } from './place.ts';

/** Without a run and without a node: it was not needed for so long. */
const IDLE_MS = 2_000;
const TOUCH_MS = 3_600_000;
const STOP_MS = 5_000;
/** The pipe on which whoever started it hears that it can be reached. */
const REPORT_FD = 3;

// Each start of a process costs in proportion to the memory that this one has touched.
for (const flag of LATER_FLAGS) setFlagsFromString(flag);

const [dir = '', jobsDir = ''] = process.argv.slice(2);
const { platform } = process;
const id = randomBytes(8).toString('hex');
const secret = randomBytes(32).toString('hex');
const socket = socketPath({ dir, id, platform, tmp: tmpdir() });
const entryFile = join(dir, `${id}.json`);

const log = createLog({ level: 'warn', clock, write: logTo(join(dir, 'supervisor.log')) });

const report = (text: string): void => {
  try {
    writeSync(REPORT_FD, `${text}\n`);
    closeSync(REPORT_FD);
  } catch {
    return; // who started it has gone: the next node finds it
  }
};

const host: RunHost = new RunHost({
  dir: jobsDir,
  clock,
  log,
  platform,
  variables: process.env,
  tell: (notice) => door.tell(notice),
  onIdle: () => endIfIdle(),
});

const carryOut = async (request: WireAsked, link: object): Promise<object> => {
  switch (request.do) {
    case 'start':
      return { record: await host.start(request.record, request.plan, request.go) };
    case 'go':
      return { record: await host.go(request.jobId) };
    case 'signal':
      return { delivered: await host.signal(request.jobId, request.signal) };
    case 'end':
      host.end(request.jobId, request.cause, request.graceMs);
      return {};
    case 'follow':
      host.follow(request.jobId, link, request.on);
      return {};
    case 'settings':
      host.setOutputBytes(request.maxOutputBytes);
      return {};
    case 'list':
      return host.list(request.after);
    default:
      // A newer node's: it knows what this version can't.
      throw new Error('this supervisor is too old for that');
  }
};

const door = new Door({
  socket,
  secret,
  clock,
  platform,
  carryOut,
  onLeft: (link) => {
    host.left(link);
    endIfIdle();
  },
});

const endIfIdle = (): void => {
  if (!host.isIdle || !door.isEmpty) return;
  clock.after(IDLE_MS, () => {
    if (host.isIdle && door.isEmpty) void leave();
  });
};

/** Nobody comes in any more; then nothing of it is left. */
const leave = async (): Promise<void> => {
  door.close();
  await rm(entryFile, { force: true }).catch(() => undefined);
  process.exit();
};

/** The machine goes down, or nobody will ask again: runs end in order. */
const stop = async (): Promise<void> => {
  clock.after(STOP_MS, () => process.exit(1));
  await host.endAll();
  await leave();
};

const main = async (): Promise<void> => {
  await secureSocketFolder(socket, process.getuid?.());
  await host.open();
  await door.open();
  const token = readToken(process.pid);
  const entry: SupervisorEntry = {
    v: 1,
    id,
    pid: process.pid,
    startedAt: Math.round(clock.now() - process.uptime() * 1000),
    ...(token === undefined ? {} : { token }),
    socket,
    secret,
    version: VERSION,
  };
  await writeFileAtomic(entryFile, `${JSON.stringify(entry)}\n`);
  report(id);
  endIfIdle();
  watchForsaken({ clock, entryFile, isAlone: () => door.isEmpty && !host.hasBegun, onForsaken: () => void stop() });
  // What clears old files away from folders of temporary ones must leave these.
  const touch = (): void => {
    for (const file of [socket, dirname(socket)]) void utimes(file, new Date(), new Date()).catch(() => undefined);
  };
  if (platform !== 'win32' && dirname(socket) !== dir) clock.every(TOUCH_MS, touch);
};

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());
process.on('SIGHUP', () => undefined);
// Its runs are worth more than an order that one of them may have lost.
process.on('uncaughtException', (error) => log.error('uncaught exception', { error: error.stack ?? error.message }));
process.on('unhandledRejection', (error) => log.error('unhandled rejection', { error: String(error) }));

main().catch((error: unknown) => {
  report(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
