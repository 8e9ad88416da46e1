import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { onTestFinished } from 'vitest';

import { BatchSink } from '../../../../src/daemon/transfers/disk/batch-sink.ts';
import { Journals } from '../../../../src/daemon/transfers/disk/journal.ts';
import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { Locks } from '../../../../src/daemon/transfers/disk/locks.ts';
import { PiecePool } from '../../../../src/daemon/transfers/disk/pieces.ts';
import { Source, type SourceOptions } from '../../../../src/daemon/transfers/disk/source.ts';
import { pathsOf, type Surroundings } from '../../../../src/daemon/transfers/disk/surroundings.ts';
import { Target, type TargetOptions } from '../../../../src/daemon/transfers/disk/target.ts';
import type { WantedFile } from '../../../../src/daemon/transfers/disk/wanted.ts';
import {
  CHUNK_BYTES,
  SMALL_BYTES,
  encodeHeader,
  ENTRY,
  type Entry,
  type Failed,
  type Group,
  type Plan,
} from '../../../../src/daemon/transfers/format.ts';
import type { SourceWant, Stamp } from '../../../../src/protocol/transfers.ts';
import { PathGuard, type PathRules } from '../../../../src/trust/path-guard.ts';
import { FakeClock } from '../../../helpers/clock.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';

/** A disk of a test: what is below `home` is open, the rest is not. */
export interface TestDisk {
  readonly around: Surroundings;
  readonly locks: Locks;
  readonly journals: Journals;
}

/** Everything that a source or a target needs, in a folder of the test's own. */
export const diskIn = (
  home: string,
  { rules = {}, around = {} }: { rules?: Partial<PathRules>; around?: Partial<Surroundings> } = {},
): TestDisk => {
  const platform = around.platform ?? process.platform;
  const journalDir = join(home, '..', 'journals');
  const locks = new Locks();
  return {
    locks,
    journals: new Journals(journalDir, locks),
    around: {
      ...pathsOf(platform),
      platform,
      home,
      nodeId: 'n'.repeat(32),
      maxFileSize: 2 ** 30,
      journalDir,
      pool: new PiecePool(),
      guard: new PathGuard(
        { platform, home, allowed: ['~'], denied: ['~/.ssh'], alwaysDenied: [], ...rules },
        new FakeClock(),
      ),
      ...around,
    },
  };
};

const keyOf = (dest: string): string => `a test moves something to ${dest}`;
const keys = new WeakMap<Target, string>();

/** A target of one folder, unless it says otherwise. */
export const targetAt = async (
  { around, locks, journals }: TestDisk,
  dest: string,
  options: Partial<TargetOptions> = {},
): Promise<Target> => {
  const target = new Target(
    { around, locks, journal: journals.open(keyOf(dest), Date.now()) },
    {
      dest,
      roots: [{ name: 'tree', type: 'directory' }],
      sourcePlatform: around.platform,
      limits: {},
      mayWriteRunning: true,
      checksum: false,
      update: false,
      noClobber: false,
      dryRun: false,
      digest: false,
      ...options,
    },
  );
  keys.set(target, keyOf(dest));
  await target.open();
  return target;
};

/** Ends a target, and what is written down about it. */
export const closeTarget = async ({ journals }: TestDisk, target: Target, isDone = true): Promise<void> => {
  await target.close();
  journals.close(keys.get(target) ?? '', isDone ? 'none' : 'kept');
};

export const sourceOf = async (
  { around }: TestDisk,
  paths: readonly string[],
  options: Partial<SourceOptions> = {},
): Promise<{ source: Source; failed: readonly Failed[]; names: readonly string[] }> => {
  const source = new Source(around, { paths, exclude: [], gitignore: false, limits: {}, ...options });
  const { failed, roots } = await source.open();
  return { source, failed, names: roots.map(({ name }) => name) };
};

export const readAll = async (source: Source, want: SourceWant): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of source.read(want)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
};

export const readJson = async (source: Source, want: SourceWant): Promise<unknown> =>
  JSON.parse((await readAll(source, want)).toString());

/** All that a source has. */
export const manifestOf = async (
  source: Source,
): Promise<{ entries: Entry[]; failed: Failed[]; groups: number; drafts: number }> => {
  const entries: Entry[] = [];
  const failed: Failed[] = [];
  let drafts = 0;
  for (let at = 0; ; at += 1) {
    const group = (await readJson(source, { kind: 'group', at })) as Group;
    entries.push(...group.entries);
    failed.push(...group.failed);
    drafts += group.drafts ?? 0;
    if (group.last) return { entries, failed, groups: at + 1, drafts };
  }
};

/** A file in a batch: what it is to be, and its bytes or why there are none. */
export type Piece = readonly [path: string, bytes: string | Buffer | { readonly error: string }, mode?: number];

export const MTIME_MS = 1_700_000_000_123;

/** The header and the bytes of a batch. */
export const batchOf = (pieces: readonly Piece[]): { header: unknown[]; bytes: Buffer } => {
  const header = pieces.map(([path, content, mode = 0o644]) => [
    0,
    path,
    typeof content === 'object' && 'error' in content ? 5 : Buffer.from(content).length,
    MTIME_MS,
    mode,
  ]);
  const parts = pieces.map(([, content]) => {
    if (typeof content === 'object' && 'error' in content) {
      const text = Buffer.from(JSON.stringify({ error: content.error, message: 'why' }));
      return Buffer.concat([Buffer.alloc(4), Buffer.of(1, text.length >> 8, text.length & 255), text]);
    }
    const body = Buffer.from(content);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    return Buffer.concat([length, body, Buffer.of(0)]);
  });
  return { header, bytes: Buffer.concat([encodeHeader(header), ...parts]) };
};

/** Takes a batch in, as it would come. */
const takeBatch = async (target: Target, bytes: Uint8Array) => {
  await target.places.judge(target.places.roots.keys());
  const sink = new BatchSink(target);
  sink.take(bytes);
  return sink.end();
};

/** Writes small files. */
export const writeFiles = (target: Target, pieces: readonly Piece[]) => takeBatch(target, batchOf(pieces).bytes);

const sendLarge = async (source: Source, target: Target, entry: Entry): Promise<number> => {
  const [, root, path, size, mtimeMs, mode] = entry;
  const stamp: Stamp = [root, path, size, mtimeMs];
  const { file, hashes } = await target.prepare([root, path, size, mtimeMs, mode]);
  const ours =
    hashes.length === 0
      ? []
      : ((await readJson(source, { kind: 'hashes', file: stamp, chunks: hashes.length })) as { hashes: string[] })
          .hashes;
  const keep: [number, number][] = [];
  let sent = 0;
  for (let chunk = 0; chunk * CHUNK_BYTES < size; chunk += 1) {
    if (hashes[chunk] !== undefined && hashes[chunk] === ours[chunk]) {
      keep.push([chunk, chunk + 1]);
      continue;
    }
    const to = Math.min(size, (chunk + 1) * CHUNK_BYTES);
    const sink = new PutSink(target.large, { file, at: chunk * CHUNK_BYTES, to, turn: 0 });
    sink.take(await readAll(source, { kind: 'range', file: stamp, from: chunk * CHUNK_BYTES, to }));
    await sink.end();
    sent += to - chunk * CHUNK_BYTES;
  }
  await readJson(source, { kind: 'check', file: stamp });
  await target.large.commit(file, keep);
  return sent;
};

/** What came of moving something. */
export interface Moved {
  readonly failed: Failed[];
  readonly files: number;
  readonly skipped: number;
  readonly folders: number;
  readonly links: number;
  readonly sentLarge: number;
  readonly paths: readonly string[];
}

/** Moves paths from one disk to another, as a mover does. */
export const move = async (
  [from, to]: readonly [TestDisk, TestDisk],
  [paths, dest]: readonly [readonly string[], string],
  options: Partial<SourceOptions> & Partial<TargetOptions> = {},
): Promise<Moved> => {
  const { source, failed: notFound } = await sourceOf(from, paths, options);
  const { roots } = await source.open();
  const target = await targetAt(to, dest, {
    roots: roots.map(({ name, type }) => ({ name, type })),
    sourcePlatform: from.around.platform,
    ...options,
  });
  const failed: Failed[] = [...notFound];
  const counts = { files: 0, skipped: 0, folders: 0, links: 0, sentLarge: 0 };
  for (let at = 0; ; at += 1) {
    const group = (await readJson(source, { kind: 'group', at })) as Group;
    const plan = await compared([source, target], group, await target.plan(group.entries));
    failed.push(...group.failed, ...plan.failed);
    counts.folders += plan.folders;
    counts.links += plan.links;
    counts.skipped += plan.skipped;
    if (options.dryRun !== true) {
      await sendSmall(source, target, { group, plan, failed, counts });
      const { failed: unfinished } = await target.finish(group.entries.filter(([kind]) => kind === ENTRY.end));
      failed.push(...unfinished);
    }
    if (group.last) break;
  }
  source.close();
  const real = target.places.roots;
  await closeTarget(to, target, failed.length === 0);
  return { failed, ...counts, paths: real };
};

interface Sending {
  readonly group: Group;
  readonly plan: Plan;
  readonly failed: Failed[];
  readonly counts: { files: number; sentLarge: number };
}

/** The plan when the contents of files have been compared: those that differ are to be sent, the others are there. */
const compared = async ([source, target]: readonly [Source, Target], { entries }: Group, plan: Plan): Promise<Plan> => {
  if (plan.check.length === 0) return plan;
  const asked = plan.check.map((index): Entry => entries[index] ?? [9, 0, '', 0, 0, 0]);
  const files = asked.map(([, root, path, size, mtimeMs]): Stamp => [root, path, size, mtimeMs]);
  const { digests } = (await readJson(source, { kind: 'digests', files })) as { digests: (string | null)[] };
  const wanted = asked.map(([, root, path, size, mtimeMs, mode]): WantedFile => [root, path, size, mtimeMs, mode]);
  const { same } = await target.same(wanted, digests);
  const differing = plan.check.filter((_, at) => !same.includes(at));
  const isSmall = (index: number): boolean => (entries[index]?.[3] ?? 0) <= SMALL_BYTES;
  return {
    ...plan,
    send: [...plan.send, ...differing.filter(isSmall)],
    compare: [...plan.compare, ...differing.filter((index) => !isSmall(index))],
    skipped: plan.skipped + same.length,
  };
};

const sendSmall = async (source: Source, target: Target, { group, plan, failed, counts }: Sending): Promise<void> => {
  const at = (index: number): Entry => group.entries[index] ?? [9, 0, '', 0, 0, 0];
  for (let from = 0; from < plan.send.length; from += 100) {
    const small = plan.send.slice(from, from + 100).map(at);
    const files = small.map(([, root, path, size, mtimeMs]): Stamp => [root, path, size, mtimeMs]);
    const header = encodeHeader(small.map(([, root, path, size, mtimeMs, mode]) => [root, path, size, mtimeMs, mode]));
    const bytes = await readAll(source, { kind: 'batch', files });
    const taken = await takeBatch(target, Buffer.concat([header, bytes]));
    failed.push(...taken.failed);
    counts.files += taken.done;
  }
  for (const index of plan.compare) {
    counts.sentLarge += await sendLarge(source, target, at(index));
    counts.files += 1;
  }
};

/** Everything in a folder, each with its type, mode, time and bytes: two that are the same are equal. */
export const pictureOf = (folder: string): Record<string, string> => Object.fromEntries(pictures(Buffer.from(folder)));

function* pictures(folder: Buffer): Generator<[name: string, what: string]> {
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const file = Buffer.concat([folder, Buffer.from('/'), name]);
    const stats = lstatSync(file);
    const facts = `${(stats.mode & 0o7777).toString(8)} ${stats.mtimeMs} ${stats.ino}`;
    if (stats.isDirectory()) yield* pictures(file);
    const bytes = stats.isFile() ? readFileSync(file).toString('base64') : '';
    yield [file.toString('latin1'), `${stats.isSymbolicLink() ? readlinkSync(file) : bytes} ${facts}`];
  }
}

/** The drafts below a folder. Node's own recursion would follow links. */
export const draftsIn = (folder: string): string[] =>
  [...pictures(Buffer.from(folder))]
    .map(([path]) => path.slice(folder.length + 1))
    .filter((path) => path.endsWith('.part'));

/** Lets what waits go on. */
export const turns = async (count = 5): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
};

/** The name of the error that a promise ends with. */
export const errorOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (thrown) {
    return thrown instanceof Error && 'error' in thrown ? String(thrown.error) : String(thrown);
  }
};

/** What failed, and with which error. */
export const whys = (failed: readonly Failed[]): string[] => failed.map(([path, error]) => `${path} ${error}`);

/** A folder of the running test's own, in memory where there is such a disk: thousands of flushes take their time. */
export const quickFolder = async (): Promise<string> => {
  if (!existsSync('/dev/shm')) return tempFolder();
  const folder = mkdtempSync('/dev/shm/loopsy-test-');
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};
