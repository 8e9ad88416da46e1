import { createHash } from 'node:crypto';
import { posix, win32 } from 'node:path';

import type { Clock } from '../../kernel/clock.ts';
import { ERRORS, LoopsyError } from '../../protocol/errors.ts';
import type { DryItem, SourceOpened, TargetOpen, TransferFailure, TransferInput } from '../../protocol/transfers.ts';
import type { Ends, Leaving, SourceEnd, TargetEnd } from './ends.ts';
import { FileSender } from './file-sender.ts';
import { ENTRY, type Entry, type Group } from './format.ts';
import { type KeepMarks, KnownFolders, type Marks } from './known-folders.ts';
import { Patience } from './patience.ts';
import { Planning, type Planned } from './planning.ts';
import type { Progress } from './progress.ts';
import { ExtraRemover } from './remove-extra.ts';
import { Slots } from './slots.ts';
import type { Throttle } from './throttle.ts';
import { failedIn, readAll, shownIn, type NameItems, type Way } from './way.ts';

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
  /** Told what a dry run would do. */
  readonly name?: NameItems;
  /** Which folders it began with, where that was before this start of the node. */
  readonly marks?: Marks | undefined;
  readonly onMarks?: KeepMarks | undefined;
}

/** Parts of the manifest that are dealt with at once: all that is held of it. */
const GROUPS = 4;

/** One try at all of it: an end that was started anew has to be opened again, and with that all begins anew. */
interface Attempt {
  readonly way: Way;
  readonly patience: Patience;
  readonly sender: FileSender;
  readonly remover: ExtraRemover | undefined;
  /** What goes on. */
  readonly works: Set<Promise<unknown>>;
}

/** Carries files from one end to the other, so that doing it again goes on where it was. */
export class Mover {
  readonly #parts: MoverParts;
  readonly #progress: Progress;
  readonly #patience: Patience;
  readonly #known: KnownFolders;

  constructor(parts: MoverParts) {
    const { progress, clock, signal, patienceMs } = parts;
    this.#parts = parts;
    this.#known = new KnownFolders(parts.marks, parts.onMarks);
    this.#progress = progress;
    const onWaiting = (why: LoopsyError | undefined): void => progress.wait(why);
    this.#patience = new Patience({ clock, signal, patienceMs, onWaiting });
  }

  /** @throws {LoopsyError} what keeps all of it from going on; single files are counted as failures. */
  run(): Promise<void> {
    return this.#patience.restart(
      () => this.#once(),
      () => this.#progress.restart(),
    );
  }

  async #once(): Promise<void> {
    const { ends, signal, throttle } = this.#parts;
    this.#known.begin();
    const once = new AbortController();
    const patience = this.#patience.within(once.signal);
    const sender = new FileSender({ patience, progress: this.#progress, throttle, signal: once.signal });
    const works = new Set<Promise<unknown>>();
    const giveUp = (): void => once.abort(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const source = ends.source(once.signal);
    const target = ends.target(once.signal);
    let outcome: Leaving['outcome'] = 'failed';
    try {
      signal.throwIfAborted();
      const way = await this.#open([source, target], patience);
      const remover = this.#remover(patience);
      await this.#move({ way, patience, sender, remover, works });
      this.#known.needDisks();
      await remover?.run(way);
      outcome = this.#progress.hasFailed ? 'failed' : 'done';
    } catch (thrown) {
      if (signal.aborted) outcome = 'cancelled';
      throw thrown;
    } finally {
      signal.removeEventListener('abort', giveUp);
      once.abort();
      // What still goes on would count, and take slots, beside the next attempt.
      await Promise.allSettled(works);
      const { files, bytes } = this.#progress;
      const leaving = { outcome, files: files.done, bytes: bytes.sent, failed: files.failed };
      // An end that can't be told closes by itself.
      await Promise.allSettled([source.close(leaving), target.close(leaving)]);
    }
  }

  get #name(): NameItems | undefined {
    const { input, name = async () => undefined } = this.#parts;
    return input.dryRun === true ? name : undefined;
  }

  #remover(patience: Patience): ExtraRemover | undefined {
    const { exclude = [], gitignore, delete: removes } = this.#parts.input;
    const leavesOut = exclude.length > 0 || gitignore === true;
    const parts = { patience, progress: this.#progress };
    return removes === true ? new ExtraRemover(parts, { leavesOut, name: this.#name }) : undefined;
  }

  async #open([source, target]: readonly [SourceEnd, TargetEnd], patience: Patience): Promise<Way> {
    const { input, boot } = this.#parts;
    const { sources, exclude, gitignore } = input;
    const opened = await source.open({ paths: sources, exclude, gitignore, to: target.place.name, boot });
    this.#progress.fail(
      opened.failures.map(({ path, error, message, hint = '' }) => [path, error, message, hint]),
      'source',
    );
    const [first] = opened.failures;
    if (opened.roots.length === 0 && first !== undefined) throw asError(first);
    const marked = opened.roots.map(({ path, mark }) => [path, mark] as const);
    await this.#known.meet('source', marked);
    const roots = opened.roots.map(({ name, type }) => ({ name, type }));
    const isOneFile = roots.length === 1 && roots[0]?.type === 'file';
    const { dest, checksum, update, noClobber, dryRun } = input;
    const open: TargetOpen = {
      dest,
      roots,
      // One that was not found, or is left out, must not let another one take the name of the folder that both were to
      // go into.
      ...(sources.length > 1 ? { several: true } : {}),
      source: createHash('sha256')
        .update(JSON.stringify([source.place.nodeId, sources]))
        .digest('hex'),
      platform: opened.platform,
      from: source.place.name,
      boot,
      checksum,
      update,
      noClobber,
      dryRun,
      delete: input.delete,
      ...(isOneFile ? { digest: true } : {}),
    };
    // The source stays open meanwhile: it need not look for its files at each attempt.
    const { paths, marks } = await patience.persist(() => target.open(open));
    // A node of an older version has none.
    if (marks !== undefined) await this.#known.meet('target', markedIn(paths, marks));
    if (source.place.nodeId === target.place.nodeId) refuseInside(opened, paths);
    if (source.place.nodeId === target.place.nodeId && input.delete === true) refuseAround(opened, paths);
    if (paths.length === 1) this.#progress.path = paths[0];
    this.#progress.touch();
    return { source, target, opened };
  }

  /** Where another disk was met, or is met now: what is missing there is removed only while it is the same. */
  async #meetDisks({ opened }: Way, { entries, disks = [] }: Group): Promise<void> {
    if (this.#parts.input.delete !== true) return;
    const marks = new Map(disks);
    const below = entries.flatMap(([kind, root, path], index) =>
      kind === ENTRY.end ? [] : [[`${opened.roots[root]?.path ?? ''}/${path}`, marks.get(index)] as const],
    );
    await this.#known.meet('disk', below);
  }

  /** Goes through the manifest: the next part is on its way while the last ones are dealt with. */
  async #move(attempt: Attempt): Promise<void> {
    const { way, patience, remover, works } = attempt;
    const dryRun = this.#parts.input.dryRun === true;
    const planning = new Planning({ patience, progress: this.#progress, remover, dryRun });
    const keep = <T>(work: Promise<T>): Promise<T> => {
      works.add(work);
      // Whoever waits for it hears of it; if nobody does any more, it must not end the node.
      const forget = (): void => void works.delete(work);
      work.then(forget, forget);
      return work;
    };
    const groups = new Slots(GROUPS);
    // A folder is made before what is in it is looked at, also where that is in the next part.
    let planned: Promise<unknown> = Promise.resolve();
    // Folders are finished in the order in which they are left, when all before them is done.
    let finished: Promise<unknown> = Promise.resolve();
    let failure: { readonly thrown: unknown } | undefined;
    const fetch = (at: number): Promise<Buffer> =>
      keep(patience.persist(() => readAll(way.source, { kind: 'group', at })));
    let next = fetch(0);
    for (let at = 0, isLast = false; !isLast; at += 1) {
      const text = (await next).toString();
      if (failure !== undefined) break;
      // The source's own node has written it; a target judges each entry.
      const group = JSON.parse(text) as Group;
      isLast = group.last;
      if (!isLast) next = fetch(at + 1);
      await this.#meetDisks(way, group);
      this.#found(group);
      const { done } = await groups.begin(() => {
        const plan = planned.then(() => planning.plan(way, { group, text }));
        planned = plan;
        return keep(this.#group(attempt, plan));
      });
      const before = finished;
      finished = keep(Promise.all([done, before]).then(([entries]) => this.#finish(attempt, entries)));
      finished.catch((thrown: unknown) => (failure ??= { thrown }));
    }
    await finished;
  }

  #found({ files, bytes, drafts = 0, failed, last }: Group): void {
    this.#progress.files.found += files;
    this.#progress.bytes.found += bytes;
    this.#progress.drafts += drafts;
    this.#progress.fail(failed, 'source');
    if (last) this.#progress.counting = false;
    this.#progress.touch();
  }

  /** @returns the entries that are in folders which are there. */
  async #group({ way, sender }: Attempt, planning: Promise<Planned>): Promise<readonly Entry[]> {
    const planned = await planning;
    const { entries, plan, open } = planned;
    if (plan.made !== undefined) await this.#known.meet('target', [plan.made]);
    const { files, bytes } = this.#progress;
    this.#progress.skip(plan.skipped, plan.skippedBytes);
    this.#progress.folders += plan.folders;
    this.#progress.links += plan.links;
    const entriesAt = (indices: readonly number[]): Entry[] =>
      indices.map((index) => entries[index]).filter((entry) => entry !== undefined);
    const differing = await sender.differing(way, entriesAt(plan.check));
    const wanted = [...entriesAt(plan.send), ...entriesAt(plan.compare), ...differing];
    if (this.#name === undefined) await sender.send(way, wanted);
    else {
      files.done += wanted.length;
      bytes.done += wanted.reduce((sum, [, , , size]) => sum + size, 0);
      await this.#name(itemsOf(way, planned, new Set(wanted)));
    }
    return open;
  }

  async #finish({ way: { target }, patience }: Attempt, entries: readonly Entry[]): Promise<void> {
    const ends = entries.filter(([kind]) => kind === ENTRY.end);
    if (ends.length === 0 || this.#parts.input.dryRun === true) return;
    const answer = await patience.persist(() => target.write('finish', JSON.stringify({ entries: ends })));
    failedIn(answer).forEach((failed) => this.#progress.remark(failed));
  }
}

/** Where the roots go, and what they lie in: also what is not there. */
const markedIn = (paths: readonly string[], marks: Marks): (readonly [string, string | undefined])[] =>
  [...new Set([...paths, ...Object.keys(marks)])].map((path) => [path, marks[path]]);

/** What would be done with the entries of a group, in their order. */
const itemsOf = (way: Way, { entries, plan }: Planned, wanted: ReadonlySet<Entry>): DryItem[] => {
  const [makes, replaces] = [new Set(plan.makes), new Set(plan.replaces)];
  return entries.flatMap((entry, index): DryItem[] => {
    if (!makes.has(index) && !wanted.has(entry)) return [];
    const [kind, root, path] = entry;
    const shown = shownIn(way, root, path);
    return [{ action: replaces.has(index) ? 'replace' : 'send', path: kind === ENTRY.folder ? `${shown}/` : shown }];
  });
};

/** A folder that is copied into itself never comes to an end. */
const refuseInside = ({ roots, platform }: SourceOpened, paths: readonly string[]): void => {
  const separator = platform === 'win32' ? '\\' : '/';
  for (const [at, { path, type }] of roots.entries()) {
    const target = paths[at] ?? '';
    const start = path.endsWith(separator) ? path : path + separator;
    if (type !== 'directory' || !target.startsWith(start)) continue;
    throw new LoopsyError('wrong_type', {
      message: `${JSON.stringify(target)} lies in what is to be copied there`,
      hint: 'copy it to a place beside the folder',
    });
  }
};

/** A source that lies in a folder that becomes a mirror would be removed, as what is not to be there. */
const refuseAround = ({ roots, platform }: SourceOpened, paths: readonly string[]): void => {
  const native = platform === 'win32' ? win32 : posix;
  const mirrors = new Map(
    paths.map((path, at) => [path, at] as const).filter(([, at]) => roots[at]?.type === 'directory'),
  );
  for (const [at, { path }] of roots.entries()) {
    for (let folder = path, below = ''; folder !== below; [folder, below] = [native.dirname(folder), folder]) {
      const mirror = mirrors.get(folder);
      // What is copied to where it is is its own mirror.
      if (mirror === undefined || (mirror === at && folder === path)) continue;
      throw new LoopsyError('invalid_request', {
        message: `${JSON.stringify(path)} lies in ${JSON.stringify(folder)}: --delete would remove it there`,
        hint: 'leave out --delete, or copy it to a place beside that folder',
      });
    }
  }
};

const isErrorName = (name: string): name is keyof typeof ERRORS => Object.hasOwn(ERRORS, name);

/** Nothing could be read at all: the first reason is that of all. */
const asError = ({ path, error, message, hint }: TransferFailure): LoopsyError =>
  new LoopsyError(isErrorName(error) ? error : 'transfer_failed', {
    message,
    details: { path, at: 'source' },
    ...(hint === undefined ? {} : { hint }),
  });
