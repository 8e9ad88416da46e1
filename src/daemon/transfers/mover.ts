import type { Clock } from '../../kernel/clock.ts';
import { sleep } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { isRecord } from '../../protocol/record.ts';
import type { SourceOpened, SourceWant, Stamp, TransferInput } from '../../protocol/transfers.ts';
import type { Ends, Leaving, SourceEnd, TargetEnd } from './ends.ts';
import {
  CHUNK_BYTES,
  BATCH_BYTES,
  BATCH_FILES,
  encodeHeader,
  ENTRY,
  shownPath,
  type Entry,
  type Failed,
  type Group,
  type Plan,
} from './format.ts';
import type { Progress } from './progress.ts';
import { Slots } from './slots.ts';
import type { Throttle } from './throttle.ts';

/** What moves files. */
export interface MoverParts {
  readonly ends: Ends;
  readonly input: TransferInput;
  readonly progress: Progress;
  readonly clock: Clock;
  /** This start of the node. */
  readonly boot: string;
  readonly signal: AbortSignal;
  /** How long a node may be away, ms, before the movement fails. */
  readonly patienceMs: number;
  readonly throttle: Throttle | undefined;
}

const GROUPS = 4;
const BATCHES = 3;
const LARGE = 2;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** Errors of a node that is away, or of a connection that broke: trying again may help. */
const AWAY: ReadonlySet<string> = new Set([
  'peer_unreachable',
  'peer_offline',
  'outcome_unknown',
  'request_timeout',
  'node_stopping',
  'execution_cancelled',
  'rate_limited',
]);
/** An end has forgotten what was open: its node was started anew, or nobody asked for long. */
const FORGOTTEN = 'transfer_not_found';

const isAway = (thrown: LoopsyError): boolean => AWAY.has(thrown.error);

/** Carries files from one end to the other, so that doing it again goes on where it was. */
export class Mover {
  readonly #parts: MoverParts;
  readonly #progress: Progress;
  readonly #batches = new Slots(BATCHES);
  readonly #large = new Slots(LARGE);
  #lastContactMs = 0;

  constructor(parts: MoverParts) {
    this.#parts = parts;
    this.#progress = parts.progress;
  }

  /** @throws {LoopsyError} what keeps all of it from going on; single files are counted as failures. */
  async run(): Promise<void> {
    this.#contact();
    for (;;) {
      try {
        return await this.#once();
      } catch (thrown) {
        if (!(thrown instanceof LoopsyError)) throw thrown;
        const isForgotten = thrown.error === FORGOTTEN;
        if (!isForgotten && !isAway(thrown)) throw thrown;
        await this.#wait(thrown, isForgotten ? FIRST_PAUSE_MS : LONGEST_PAUSE_MS / 2);
        this.#progress.restart();
      }
    }
  }

  #contact(): void {
    this.#lastContactMs = this.#parts.clock.monotonicMs();
    this.#progress.waiting = false;
  }

  /** Waits for a node that is away. @throws `why` where that has taken too long, or nobody wants it any more. */
  async #wait(why: LoopsyError, pauseMs: number): Promise<void> {
    const { clock, signal, patienceMs } = this.#parts;
    signal.throwIfAborted();
    const retryAfterMs = Number(why.details?.['retryAfterMs'] ?? 0);
    if (retryAfterMs === 0 && clock.monotonicMs() - this.#lastContactMs > patienceMs) throw why;
    this.#progress.waiting = true;
    this.#progress.touch();
    await sleep(Math.max(pauseMs, retryAfterMs), clock);
    signal.throwIfAborted();
  }

  /** Does it again while the connection breaks; `again` goes on where it broke. */
  async #persist<T>(attempt: (isAgain: boolean) => Promise<T>): Promise<T> {
    let pauseMs = FIRST_PAUSE_MS;
    for (let isAgain = false; ; isAgain = true) {
      try {
        const answer = await attempt(isAgain);
        this.#contact();
        return answer;
      } catch (thrown) {
        this.#parts.signal.throwIfAborted();
        if (!(thrown instanceof LoopsyError) || !isAway(thrown)) throw thrown;
        await this.#wait(thrown, pauseMs);
        pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
      }
    }
  }

  async #once(): Promise<void> {
    const { ends, signal } = this.#parts;
    const once = new AbortController();
    const giveUp = (): void => once.abort(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const source = ends.source(once.signal);
    const target = ends.target(once.signal);
    let outcome: Leaving['outcome'] = 'failed';
    try {
      signal.throwIfAborted();
      const way = await this.#open(source, target);
      await this.#move(way);
      if (this.#parts.input.delete === true) await this.#removeExtra(way);
      outcome = this.#progress.files.failed === 0 ? 'done' : 'failed';
    } catch (thrown) {
      if (signal.aborted) outcome = 'cancelled';
      throw thrown;
    } finally {
      signal.removeEventListener('abort', giveUp);
      once.abort();
      const { files, bytes } = this.#progress;
      const leaving = { outcome, files: files.done, bytes: bytes.sent, failed: files.failed };
      // An end that can't be told closes by itself.
      await Promise.allSettled([source.close(leaving), target.close(leaving)]);
    }
  }

  async #open(source: SourceEnd, target: TargetEnd): Promise<Way> {
    const { input, boot } = this.#parts;
    const { sources, dest, exclude, gitignore, checksum, update, noClobber, dryRun } = input;
    const opened = await source.open({ paths: sources, exclude, gitignore, to: target.place.name, boot });
    this.#contact();
    this.#progress.fail(opened.failures.map(({ path, error, message }) => [path, error, message]));
    const [first] = opened.failures;
    if (opened.roots.length === 0 && first !== undefined) throw soleFailure(first);
    const roots = opened.roots.map(({ name, type }) => ({ name, type }));
    const isOneFile = roots.length === 1 && roots[0]?.type === 'file';
    const { paths } = await target.open({
      dest,
      roots,
      source: JSON.stringify([source.place.nodeId, sources]),
      platform: opened.platform,
      from: source.place.name,
      boot,
      checksum,
      update,
      noClobber,
      dryRun,
      delete: input.delete,
      ...(isOneFile ? { digest: true } : {}),
    });
    this.#contact();
    if (paths.length === 1) this.#progress.path = paths[0];
    this.#progress.touch();
    return { source, target, opened };
  }

  // ── the manifest ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #move(way: Way): Promise<void> {
    const groups = new Slots(GROUPS);
    // Folders are finished in the order in which they are left, when all before them is done.
    let finished: Promise<unknown> = Promise.resolve();
    let failure: unknown;
    const fetch = (at: number): Promise<Buffer> => this.#persist(() => collect(way.source.read({ kind: 'group', at })));
    let next = fetch(0);
    for (let at = 0; ; at += 1) {
      const text = await next;
      if (failure !== undefined) break;
      const group = JSON.parse(text.toString()) as Group;
      if (!group.last) {
        next = fetch(at + 1);
        // Whoever waits for it hears of it; if nobody does any more, it must not end the node.
        next.catch(() => undefined);
      }
      this.#found(group);
      let begun = (): void => undefined;
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      const done = groups.run(() => {
        begun();
        return this.#group(way, group, text);
      });
      const before = finished;
      finished = Promise.all([done, before]).then(() => this.#finish(way, group));
      finished.catch((thrown: unknown) => {
        failure ??= thrown;
        begun();
      });
      if (group.last) break;
      await hasBegun;
    }
    await finished;
  }

  #found({ files, bytes, failed, last }: Group): void {
    this.#progress.files.found += files;
    this.#progress.bytes.found += bytes;
    this.#progress.fail(failed);
    if (last) this.#progress.counting = false;
    this.#progress.touch();
  }

  async #group(way: Way, group: Group, text: Buffer): Promise<void> {
    const planned = await this.#persist(() => way.target.write('plan', text.toString()));
    const plan = planned as Plan;
    const { files, bytes } = this.#progress;
    files.skipped += plan.skipped;
    bytes.done += plan.skippedBytes;
    this.#progress.folders += plan.folders;
    this.#progress.links += plan.links;
    this.#progress.fail(plan.failed);
    const entriesAt = (indices: readonly number[]): Entry[] =>
      indices.map((index) => group.entries[index]).filter((entry) => entry !== undefined);
    const large = entriesAt(plan.compare);
    const small = entriesAt(plan.send);
    if (this.#parts.input.dryRun === true) {
      files.done += large.length + small.length;
      bytes.done += [...large, ...small].reduce((sum, [, , , size]) => sum + size, 0);
      return;
    }
    const sendings = [
      ...batchesOf(small).map((batch) => this.#batches.run(() => this.#sendBatch(way, batch))),
      ...large.map((entry) => this.#large.run(() => this.#sendLarge(way, entry))),
    ];
    const ended = await Promise.allSettled(sendings);
    const failed = ended.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #finish({ target }: Way, { entries }: Group): Promise<void> {
    const ends = entries.filter(([kind]) => kind === ENTRY.end);
    if (ends.length === 0 || this.#parts.input.dryRun === true) return;
    const answer = await this.#persist(() => target.write('finish', JSON.stringify({ entries: ends })));
    this.#progress.fail(failedIn(answer));
  }

  // ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #sendBatch(way: Way, batch: readonly Entry[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    this.#progress.current = this.#shown(way, first);
    const files = batch.map(([, root, path, size, mtimeMs]): Stamp => [root, path, size, mtimeMs]);
    const header = encodeHeader(batch.map(([, root, path, size, mtimeMs, mode]) => [root, path, size, mtimeMs, mode]));
    const answer = await this.#persist(async () =>
      way.target.write('batch', this.#flow(await way.source.read({ kind: 'batch', files }), header)),
    );
    if (!isRecord(answer)) return;
    this.#progress.files.done += Number(answer['done'] ?? 0);
    this.#progress.bytes.done += Number(answer['bytes'] ?? 0);
    if (typeof answer['checksum'] === 'string') this.#progress.checksum = answer['checksum'];
    this.#progress.fail(failedIn(answer));
    this.#progress.touch();
  }

  /** Bytes on their way: counted, and held back to the rate that was asked for. */
  async *#flow(chunks: AsyncIterable<Uint8Array>, header?: Uint8Array): AsyncGenerator<Uint8Array> {
    const { throttle } = this.#parts;
    if (header !== undefined) yield header;
    for await (const chunk of chunks) {
      await throttle?.take(chunk.length);
      this.#progress.bytes.sent += chunk.length;
      yield chunk;
      this.#progress.touch();
    }
  }

  async #sendLarge(way: Way, entry: Entry): Promise<void> {
    const [, root, path, size, mtimeMs, mode] = entry;
    const shown = this.#shown(way, entry);
    this.#progress.current = shown;
    const wanted = [root, path, size, mtimeMs, mode];
    let file: number | undefined;
    let counted = 0;
    const count = (bytes: number): void => {
      this.#progress.bytes.done += bytes - counted;
      counted = bytes;
    };
    try {
      const prepared = await this.#prepare(way, wanted);
      file = prepared.file;
      const stamp: Stamp = [root, path, size, mtimeMs];
      const { keep, send } = await this.#compare(way, stamp, prepared);
      count(keep.reduce((sum, [from, to]) => sum + Math.min(size, to * CHUNK_BYTES) - from * CHUNK_BYTES, 0));
      for (const range of send) {
        const before = counted;
        const reached = (bytes: number): void => count(before + bytes);
        await this.#sendRange(way, { wanted, stamp, file, range, reached });
      }
      await this.#persist(() => json(way.source.read({ kind: 'check', file: stamp })));
      const answer = await this.#commit(way, { file, keep });
      this.#progress.files.done += 1;
      if (isRecord(answer) && typeof answer['checksum'] === 'string') this.#progress.checksum = answer['checksum'];
    } catch (thrown) {
      this.#progress.bytes.done -= counted;
      await this.#failLarge(way, { file, shown, thrown });
    }
    this.#progress.touch();
  }

  /** One file does not come: the others do. @throws what is about more than this file. */
  async #failLarge(
    { target }: Way,
    { file, shown, thrown }: { file: number | undefined; shown: string; thrown: unknown },
  ): Promise<void> {
    this.#parts.signal.throwIfAborted();
    if (!(thrown instanceof LoopsyError) || isAway(thrown) || thrown.error === FORGOTTEN || isAboutAll(thrown))
      throw thrown;
    this.#progress.fail([[shown, thrown.error, thrown.message]]);
    if (file === undefined || thrown.error === 'disk_full') return;
    await target.write('drop', '{}', { file }).catch(() => undefined);
  }

  async #prepare({ target }: Way, wanted: readonly unknown[]): Promise<Prepared> {
    const answer = await this.#persist(() => target.write('prepare', JSON.stringify({ file: wanted })));
    return answer as Prepared;
  }

  /** Which chunks are there already, and which ranges are to be sent. */
  async #compare(
    way: Way,
    file: Stamp,
    { hashes = [] }: Prepared,
  ): Promise<{ keep: [number, number][]; send: [number, number][] }> {
    const [, , size] = file;
    const chunks = Math.ceil(size / CHUNK_BYTES);
    const ours =
      hashes.length === 0
        ? []
        : (
            (await this.#persist(() => json(way.source.read({ kind: 'hashes', file, chunks: hashes.length })))) as {
              hashes: string[];
            }
          ).hashes;
    const keep: [number, number][] = [];
    const send: [number, number][] = [];
    for (let index = 0; index < chunks; index += 1) {
      const isThere = hashes[index] !== undefined && hashes[index] === ours[index];
      const list = isThere ? keep : send;
      const last = list.at(-1);
      const [from, to] = isThere
        ? [index, index + 1]
        : [index * CHUNK_BYTES, Math.min(size, (index + 1) * CHUNK_BYTES)];
      if (last?.[1] === from) last[1] = to;
      else list.push([from, to]);
    }
    return { keep, send };
  }

  async #sendRange(way: Way, { wanted, stamp, file, range, reached }: RangeSending): Promise<void> {
    const [from, to] = range;
    let at = from;
    await this.#persist(async (isAgain) => {
      if (isAgain) {
        const found = await this.#prepare(way, wanted);
        if (found.file !== file) throw new LoopsyError(FORGOTTEN);
        at = found.at !== undefined && found.at >= from && found.at <= to ? found.at : from;
      }
      reached(at - from);
      if (at >= to) return;
      const bytes = this.#flow(await way.source.read({ kind: 'range', file: stamp, from: at, to }));
      const count = (flowed: number): void => reached(at - from + flowed);
      await way.target.write('put', counting(bytes, count), { file, offset: at, length: to - at });
    });
  }

  /** A commit whose answer was lost is found to be done when the file is not open any more, and is what it should be. */
  #commit(
    { target }: Way,
    { file, keep }: { file: number; keep: readonly (readonly [number, number])[] },
  ): Promise<unknown> {
    return this.#persist(() => target.write('commit', JSON.stringify({ keep }), { file }));
  }

  #shown({ opened }: Way, [, root, path]: Entry): string {
    return shownPath(opened.roots[root]?.name ?? '', path);
  }

  // ── what the source does not have ─────────────────────────────────────────────────────────────────────────────────

  /** Only where all of the source could be read: else what is missing may just not have been seen. */
  async #removeExtra(way: Way): Promise<void> {
    if (this.#progress.files.failed > 0) {
      const message = 'nothing was removed, because not everything at the source could be read or written';
      this.#progress.fail([['', 'transfer_failed', message]]);
      return;
    }
    for (const [root, { type }] of way.opened.roots.entries())
      if (type === 'directory') await this.#removeIn(way, root, '');
  }

  async #removeIn(way: Way, root: number, folder: string): Promise<void> {
    const answer = await this.#persist(() => way.target.write('extra', JSON.stringify({ root, folder })));
    const names = (answer as { names: readonly (readonly [string, boolean])[] }).names;
    for (let from = 0; from < names.length; from += 1000) {
      const page = names.slice(from, from + 1000).map(([name, isFolder]): [string, boolean] => [name, isFolder]);
      const want: SourceWant = { kind: 'missing', root, folder, names: page };
      const { missing } = (await this.#persist(() => json(way.source.read(want)))) as { missing: number[] };
      const gone = new Set(missing);
      const below = (name: string): string => (folder === '' ? name : `${folder}/${name}`);
      const paths = page.filter((_, index) => gone.has(index)).map(([name]) => below(name));
      if (paths.length > 0) {
        const removed = await this.#persist(() => way.target.write('remove', JSON.stringify({ root, paths })));
        if (isRecord(removed)) this.#progress.removed += Number(removed['removed'] ?? 0);
        this.#progress.fail(failedIn(removed));
      }
      for (const [index, [name, isFolder]] of page.entries())
        if (isFolder && !gone.has(index)) await this.#removeIn(way, root, below(name));
    }
  }
}

/** Both ends, open. */
interface Way {
  readonly source: SourceEnd;
  readonly target: TargetEnd;
  readonly opened: SourceOpened;
}

/** A part of a large file, and what is told how much of it has been sent. */
interface RangeSending {
  readonly wanted: readonly unknown[];
  readonly stamp: Stamp;
  readonly file: number;
  readonly range: readonly [from: number, to: number];
  readonly reached: (bytes: number) => void;
}

interface Prepared {
  readonly file: number;
  readonly at?: number;
  readonly hashes?: readonly string[];
}

/** Errors that every further file would meet too. */
const isAboutAll = ({ error }: LoopsyError): boolean =>
  [
    'scope_missing',
    'revoked',
    'expired_key',
    'missing_key',
    'invalid_key',
    'peer_not_found',
    'peer_version',
    'peer_handshake',
  ].includes(error);

const soleFailure = ({ path, error, message }: { path: string; error: string; message: string }): LoopsyError => {
  const known =
    error === 'path_denied' ||
    error === 'file_not_found' ||
    error === 'wrong_type' ||
    error === 'file_too_large' ||
    error === 'disk_read_only';
  return new LoopsyError(known ? error : 'transfer_failed', { message, details: { path } });
};

const failedIn = (answer: unknown): readonly Failed[] => {
  const failed = isRecord(answer) ? answer['failed'] : undefined;
  return Array.isArray(failed) ? (failed as Failed[]) : [];
};

/** `count` is told how many have passed. */
async function* counting(
  chunks: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let passed = 0;
  for await (const chunk of chunks) {
    passed += chunk.length;
    count(passed);
    yield chunk;
  }
}

/** Files that travel together. */
const batchesOf = (entries: readonly Entry[]): Entry[][] => {
  const batches: Entry[][] = [];
  let bytes = 0;
  for (const entry of entries) {
    const last = batches.at(-1);
    const [, , , size] = entry;
    if (last === undefined || last.length >= BATCH_FILES || bytes + size > BATCH_BYTES) {
      batches.push([entry]);
      bytes = size;
      continue;
    }
    last.push(entry);
    bytes += size;
  }
  return batches;
};

const collect = async (reading: Promise<AsyncIterable<Uint8Array>>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await reading) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
};

const json = async (reading: Promise<AsyncIterable<Uint8Array>>): Promise<unknown> => {
  const bytes = await collect(reading);
  return JSON.parse(bytes.toString()) as unknown;
};
