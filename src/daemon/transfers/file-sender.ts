import { LoopsyError } from '../../protocol/errors.ts';
import type { Stamp } from '../../protocol/transfers.ts';
import { BATCH_BYTES, BATCH_FILES, CHUNK_BYTES, encodeHeader, failedOf, SMALL_BYTES, type Entry } from './format.ts';
import { isAway, isForgotten, type Patience } from './patience.ts';
import type { Progress } from './progress.ts';
import { readRange } from './range-reader.ts';
import { Slots } from './slots.ts';
import type { Throttle } from './throttle.ts';
import { countIn, failedIn, listIn, readJson, shownIn, textIn, type Way } from './way.ts';

/** What a sender of files needs. */
export interface FileSenderParts {
  readonly patience: Patience;
  readonly progress: Progress;
  readonly throttle: Throttle | undefined;
  readonly signal: AbortSignal;
}

/** So many at once, each. */
const BATCHES = 3;
const LARGE = 2;

/** Errors that every further file would meet too. */
const ABOUT_ALL: ReadonlySet<string> = new Set([
  'scope_missing',
  'revoked',
  'expired_key',
  'missing_key',
  'invalid_key',
  'peer_not_found',
  'peer_version',
  'peer_handshake',
  'transfer_cancelled',
]);

/** What a target answers to `prepare`. */
interface Prepared {
  readonly file: number;
  /** sha256 of each chunk that is there. */
  readonly hashes: readonly string[];
}

/** A large file under way. */
interface LargeFile {
  readonly entry: Entry;
  readonly stamp: Stamp;
  readonly count: (bytes: number) => void;
}

/** Which chunks are there already, and which are to be sent. */
interface Compared {
  readonly keep: readonly Chunks[];
  readonly send: readonly Chunks[];
}

/** A range of chunks. */
type Chunks = readonly [from: number, to: number];

/** Carries the bytes of files from one end to the other. */
export class FileSender {
  readonly #parts: FileSenderParts;
  readonly #batches = new Slots(BATCHES);
  readonly #large = new Slots(LARGE);

  constructor(parts: FileSenderParts) {
    this.#parts = parts;
  }

  /** Sends small files together and large ones each by itself; what does not arrive is counted. @throws what is about all. */
  async send(way: Way, entries: readonly Entry[]): Promise<void> {
    const isSmall = ([, , , size]: Entry): boolean => size <= SMALL_BYTES;
    await allOf([
      ...batchesOf(entries.filter(isSmall)).map((batch) => this.#batches.run(() => this.#sendBatch(way, batch))),
      ...entries.filter((entry) => !isSmall(entry)).map((entry) => this.#large.run(() => this.#sendLarge(way, entry))),
    ]);
  }

  /** Those of these files, all of the size that the target has, whose contents differ; the others are counted as there. */
  async differing(way: Way, entries: readonly Entry[]): Promise<Entry[]> {
    const { patience, progress } = this.#parts;
    const differing: Entry[] = [];
    for (const batch of batchesOf(entries)) {
      const want = { kind: 'digests', files: batch.map(stampOf) } as const;
      const digests = listIn(await patience.persist(() => readJson(way.source, want)), 'digests');
      const asked = JSON.stringify({ files: batch.map(wantedOf), digests });
      const same = new Set(listIn(await patience.persist(() => way.target.write('same', asked)), 'same'));
      for (const [index, entry] of batch.entries()) {
        const [, , , size] = entry;
        if (same.has(index)) progress.skip(1, size);
        else differing.push(entry);
      }
    }
    return differing;
  }

  async #sendBatch(way: Way, batch: readonly Entry[]): Promise<void> {
    const { patience, progress } = this.#parts;
    const [first] = batch;
    if (first === undefined) return;
    progress.current = shownIn(way, first[1], first[2]);
    const files = batch.map(stampOf);
    const header = encodeHeader(batch.map(wantedOf));
    const answer = await patience.persist(async () =>
      way.target.write('batch', this.#flow(await way.source.read({ kind: 'batch', files }), header)),
    );
    progress.files.done += countIn(answer, 'done');
    progress.bytes.done += countIn(answer, 'bytes');
    progress.skip(countIn(answer, 'skipped'), countIn(answer, 'skippedBytes'));
    progress.checksum = textIn(answer, 'checksum') ?? progress.checksum;
    progress.fail(failedIn(answer));
    progress.touch();
  }

  /** Bytes on their way: counted, and held back to the rate that was asked for. */
  async *#flow(chunks: AsyncIterable<Uint8Array>, header?: Uint8Array): AsyncGenerator<Uint8Array> {
    const { throttle, progress, signal } = this.#parts;
    if (header !== undefined) yield header;
    for await (const chunk of chunks) {
      for await (const bytes of throttle?.slices(chunk, signal) ?? [chunk]) {
        signal.throwIfAborted();
        progress.bytes.sent += bytes.length;
        yield bytes;
        progress.touch();
      }
    }
  }

  async #sendLarge(way: Way, entry: Entry): Promise<void> {
    const { patience, progress } = this.#parts;
    progress.current = shownIn(way, entry[1], entry[2]);
    let [counted, kept] = [0, 0];
    const count = (bytes: number): void => {
      counted += bytes;
      progress.bytes.done += bytes;
    };
    const takeBack = (): void => {
      count(-counted);
      progress.keep(-kept);
    };
    const large = { entry, stamp: stampOf(entry), count };
    let file: number | undefined;
    try {
      const text = JSON.stringify({ file: wantedOf(entry) });
      const prepared = (await patience.persist(() => way.target.write('prepare', text))) as Prepared;
      const number = prepared.file;
      file = number;
      const { keep, send } = await this.#compare(way, large, prepared);
      kept = bytesIn(keep, large.stamp);
      progress.keep(kept);
      for (const chunks of send) await this.#sendChunks(way, large, { file: number, chunks });
      await patience.persist(() => readJson(way.source, { kind: 'check', file: large.stamp }));
      const answer = await patience.persist(() =>
        way.target.write('commit', JSON.stringify({ keep }), { file: number }),
      );
      progress.checksum = textIn(answer, 'checksum') ?? progress.checksum;
      if (countIn(answer, 'skipped') === 0) progress.files.done += 1;
      else {
        takeBack();
        progress.skip(1, large.stamp[2]);
      }
    } catch (thrown) {
      takeBack();
      await this.#fail(way, { entry, file, thrown });
    }
    progress.touch();
  }

  /** One file does not come: the others do. @throws what is about more than this file. */
  async #fail(way: Way, failure: { entry: Entry; file: number | undefined; thrown: unknown }): Promise<void> {
    const { entry, file, thrown } = failure;
    this.#parts.signal.throwIfAborted();
    if (!(thrown instanceof LoopsyError) || isAway(thrown) || isForgotten(thrown)) throw thrown;
    if (ABOUT_ALL.has(thrown.error)) throw thrown;
    this.#parts.progress.fail([failedOf(shownIn(way, entry[1], entry[2]), thrown)]);
    if (file === undefined) return;
    // Where it is gone already, nothing of it is left.
    await way.target.write('drop', '{}', { file }).catch(() => undefined);
  }

  async #compare({ source }: Way, { stamp }: LargeFile, { hashes }: Prepared): Promise<Compared> {
    const want = { kind: 'hashes', file: stamp, chunks: hashes.length } as const;
    const ours =
      hashes.length === 0 ? [] : listIn(await this.#parts.patience.persist(() => readJson(source, want)), 'hashes');
    const keep: [number, number][] = [];
    const send: [number, number][] = [];
    for (let index = 0; index < Math.ceil(stamp[2] / CHUNK_BYTES); index += 1) {
      const ranges = hashes[index] === undefined || hashes[index] !== ours[index] ? send : keep;
      const last = ranges.at(-1);
      if (last?.[1] === index) last[1] = index + 1;
      else ranges.push([index, index + 1]);
    }
    return { keep, send };
  }

  /** After a cut it goes on behind the last byte that came. */
  async #sendChunks(
    way: Way,
    { stamp, count }: LargeFile,
    { file, chunks }: { file: number; chunks: Chunks },
  ): Promise<void> {
    const { patience } = this.#parts;
    const from = chunks[0] * CHUNK_BYTES;
    const to = Math.min(stamp[2], chunks[1] * CHUNK_BYTES);
    let at = from;
    let turn = 0;
    let isBegun = false;
    const moveTo = (next: number): void => {
      count(next - at);
      at = next;
    };
    await patience.persist(async () => {
      if (isBegun) {
        const answer = await way.target.write('resume', JSON.stringify({ from }), { file });
        turn = countIn(answer, 'turn');
        moveTo(placeIn(answer, from, stamp[2]));
      }
      isBegun = true;
      if (at >= to) return;
      const bytes = this.#flow(readRange(way.source, { file: stamp, from: at, to }, patience));
      await way.target.put({ file, at, to, turn }, bytes, (taken) => {
        moveTo(taken);
        patience.contact();
      });
    });
    moveTo(to);
  }
}

/** Resolves when all have ended. @throws the first failure, when nothing of the others goes on. */
const allOf = async (works: readonly Promise<void>[]): Promise<void> => {
  const ended = await Promise.allSettled(works);
  const failed = ended.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
};

const stampOf = ([, root, path, size, mtimeMs]: Entry): Stamp => [root, path, size, mtimeMs];

/** As a target's steps name a file. */
const wantedOf = ([, root, path, size, mtimeMs, mode]: Entry): unknown[] => [root, path, size, mtimeMs, mode];

/** Where a target wants a file to be gone on with. @throws {LoopsyError} `peer_handshake` where it can't be there. */
const placeIn = (answer: unknown, from: number, size: number): number => {
  const at = countIn(answer, 'at');
  if (Number.isSafeInteger(at) && at >= from && at <= size) return at;
  throw new LoopsyError('peer_handshake', { message: 'the target names a place in the file that it does not have' });
};

const bytesIn = (ranges: Compared['keep'], [, , size]: Stamp): number =>
  ranges.reduce((sum, [from, to]) => sum + Math.min(size, to * CHUNK_BYTES) - from * CHUNK_BYTES, 0);

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
