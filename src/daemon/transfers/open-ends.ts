import type { Clock, Timer } from '../../kernel/clock.ts';
import { timeId } from '../../kernel/ids.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type {
  EndClose,
  Place,
  SourceOpen,
  SourceOpened,
  SourceWant,
  TargetOpen,
  TargetOpened,
  Transfer,
} from '../../protocol/transfers.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import { limitsOf, mayWriteRunning } from './caller-limits.ts';
import { acknowledged } from './acknowledge.ts';
import type { Span } from './disk/incoming.ts';
import type { Rest } from './disk/journal.ts';
import type { StepWrite } from './disk/messages.ts';
import type { DiskThread } from './disk-thread.ts';
import { fewOf } from './few-sources.ts';
import type { Body } from './pour.ts';

/** What is open on this node's disk, and for whom. */
interface OpenEnd {
  readonly endId: string;
  readonly role: 'source' | 'target';
  readonly caller: string;
  /** The peer's node; empty for this node's own movers. */
  readonly nodeId: string;
  /** The mover's start, where it has said it. */
  readonly boot: string | undefined;
  readonly about: Pick<Transfer, 'from' | 'to' | 'sources' | 'moreSources' | 'dest'>;
  readonly startedAt: number;
  readonly startedAtMs: number;
  readonly release: () => void;
  usedAtMs: number;
  bytes: number;
  busy: number;
}

/** One step of a target: its bytes, and who counts them. */
type EndWrite = Omit<StepWrite, 'endId'> & {
  readonly body: Body;
  readonly onBytes?: (bytes: number) => void;
};

/** What open ends need. */
export interface OpenEndsParts {
  readonly disk: DiskThread;
  readonly clock: Clock;
  readonly platform: NodeJS.Platform;
  /** This node. */
  readonly here: () => Place;
  /** How this node calls a caller's own node. */
  readonly placeOf: (caller: Caller) => Place;
  /** Told of each one that another node has opened. */
  readonly onOpen: (row: Transfer) => void;
  /** Told of each of those that has ended: for records. */
  readonly onEnd: (row: Transfer) => void;
}

/** Nobody asked for so long: its mover is gone. */
const FORGET_MS = 600_000;
const LOOK_MS = 60_000;
/** Cancelled ones whose movers are told so. */
const MAX_CANCELLED = 1000;

const platformOf = (platform: NodeJS.Platform): SourceOpened['platform'] =>
  platform === 'win32' || platform === 'darwin' ? platform : 'linux';

/** What this node reads and writes for movers: its own, and other nodes'. Each is its opener's alone. */
export class OpenEnds {
  readonly #parts: OpenEndsParts;
  readonly #open = new Map<string, OpenEnd>();
  readonly #cancelled = new Set<string>();
  #look: Timer | undefined;

  constructor(parts: OpenEndsParts) {
    this.#parts = parts;
    parts.disk.onLost = () => this.#forgetAll();
  }

  async openSource(input: SourceOpen, caller: Caller): Promise<SourceOpened> {
    const { disk, platform, here, placeOf } = this.#parts;
    const to = caller.kind === 'peer' ? placeOf(caller) : { name: input.to ?? '', nodeId: '' };
    const about = { from: here(), to, ...fewOf(input.paths), dest: '' };
    return this.#opening({ role: 'source', about, boot: input.boot }, caller, async (endId) => {
      const { paths, exclude = [], gitignore = false } = input;
      const answer = await disk.call('source.open', { endId, paths, exclude, gitignore, limits: limitsOf(caller) });
      const { roots, failed } = answer as { roots: SourceOpened['roots']; failed: [string, string, string][] };
      const failures = failed.map(([path, error, message]) => ({ path, error, message }));
      return { endId, platform: platformOf(platform), roots, failures };
    });
  }

  async openTarget(input: TargetOpen, caller: Caller): Promise<TargetOpened> {
    const { disk, platform, here, placeOf } = this.#parts;
    const from = caller.kind === 'peer' ? placeOf(caller) : { name: input.from ?? '', nodeId: '' };
    const about = { from, to: here(), ...fewOf(input.roots.map(({ name }) => name)), dest: input.dest };
    return this.#opening({ role: 'target', about, boot: input.boot }, caller, async (endId) => {
      const answer = await disk.call('target.open', {
        endId,
        journalKey: [callerName(caller), input.source, input.dest].join('\n'),
        dest: input.dest,
        roots: input.roots,
        sourcePlatform: input.platform,
        limits: limitsOf(caller),
        mayWriteRunning: mayWriteRunning(caller),
        checksum: input.checksum === true,
        update: input.update === true,
        noClobber: input.noClobber === true,
        dryRun: input.dryRun === true,
        delete: input.delete === true,
        digest: input.digest === true,
      });
      const { paths } = answer as { paths: string[] };
      return { endId, platform: platformOf(platform), paths };
    });
  }

  /** Bytes of a source. @throws {LoopsyError} `transfer_not_found` for what is not the caller's. */
  read(endId: string, want: SourceWant, caller: Caller): AsyncIterable<Uint8Array> {
    const end = this.#of(endId, caller, 'source');
    return this.#counted(end, this.#parts.disk.read({ endId, want }));
  }

  /** One step of a target. @throws {LoopsyError} `transfer_not_found` for what is not the caller's. */
  async write(endId: string, caller: Caller, { body, onBytes, ...step }: EndWrite): Promise<unknown> {
    const end = this.#of(endId, caller, 'target');
    const isContent = step.step === 'put' || step.step === 'batch';
    const count = (bytes: number): void => {
      if (isContent) end.bytes += bytes;
      onBytes?.(bytes);
    };
    return this.#busy(end, () => this.#parts.disk.write({ endId, ...step }, body, { onBytes: count }));
  }

  /** Takes a stretch of a large file, and says how far it has come. */
  put(endId: string, caller: Caller, { body, ...span }: Span & { readonly body: Body }): AsyncIterable<Uint8Array> {
    const write = (onBytes: (bytes: number) => void): Promise<unknown> =>
      this.write(endId, caller, { step: 'put', ...span, body, onBytes });
    return acknowledged(span.at, write, this.#parts.clock);
  }

  async close({ endId, ...leaving }: EndClose, caller: Caller): Promise<void> {
    const end = this.#of(endId, caller);
    await this.#close(end, leaving);
  }

  /** The owner of this machine, or who opened it, wants no more of it: its mover is told so, and nothing waits to be gone on with. */
  async cancel(endId: string, caller: Caller): Promise<void> {
    const end = this.#of(endId, caller);
    this.#cancelled.add(endId);
    for (const oldest of this.#cancelled) {
      if (this.#cancelled.size <= MAX_CANCELLED) break;
      this.#cancelled.delete(oldest);
    }
    await this.#close(end, { outcome: 'cancelled' }, 'unwanted');
  }

  /** True where it is open here. */
  knows(endId: string): boolean {
    return this.#open.has(endId);
  }

  /** What other nodes read and write here at this moment. */
  rows(): Transfer[] {
    return [...this.#open.values()].filter(isOfPeer).map((end) => this.#row(end));
  }

  /** Ends what these callers have open. @returns how many. */
  endOf(matches: (caller: string) => boolean): number {
    const ended = [...this.#open.values()].filter(({ caller }) => matches(caller));
    for (const end of ended) this.#closeBehind(end, { outcome: 'cancelled' });
    return ended.length;
  }

  stop(): void {
    this.#look?.cancel();
    for (const end of this.#open.values()) end.release();
    this.#open.clear();
  }

  async #opening<T>(
    facts: Pick<OpenEnd, 'role' | 'about' | 'boot'>,
    caller: Caller,
    open: (endId: string) => Promise<T>,
  ): Promise<T> {
    const { clock, disk } = this.#parts;
    await this.#closeOlder(caller, facts.boot);
    const endId = timeId(clock);
    const release = disk.hold();
    try {
      const opened = await open(endId);
      const now = clock.monotonicMs();
      const end = {
        ...facts,
        endId,
        caller: callerName(caller),
        nodeId: nodeIdOf(caller),
        release,
        startedAt: clock.now(),
        startedAtMs: now,
        usedAtMs: now,
      };
      this.#open.set(endId, { ...end, bytes: 0, busy: 0 });
      if (isOfPeer(end)) this.#parts.onOpen(this.#row({ ...end, bytes: 0 }));
      this.#look ??= clock.every(LOOK_MS, () => this.#forgetOld());
      return opened;
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  /** What an earlier start of the same node has left: nobody comes back for it, and its files are to be gone on with. */
  async #closeOlder(caller: Caller, boot: string | undefined): Promise<void> {
    const nodeId = nodeIdOf(caller);
    if (nodeId === '' || boot === undefined) return;
    const older = [...this.#open.values()].filter((end) => end.nodeId === nodeId && end.boot !== boot);
    // A thread that has ended has let go of its files.
    await Promise.allSettled(older.map((end) => this.#close(end, {})));
  }

  #of(endId: string, caller: Caller, role?: OpenEnd['role']): OpenEnd {
    const end = this.#open.get(endId);
    const isOpen = end !== undefined && (role === undefined || end.role === role);
    if (isOpen && maySee(caller, end.caller)) return end;
    throw this.#gone(endId);
  }

  #gone(endId: string): LoopsyError {
    return this.#cancelled.has(endId)
      ? new LoopsyError('transfer_cancelled', { message: 'the transfer was cancelled on the other machine' })
      : new LoopsyError('transfer_not_found', { message: `nothing is open here under the id ${endId}` });
  }

  /** What fails because its end was closed under it says that: it is no fault of a file. */
  #whyOf({ endId }: OpenEnd, thrown: unknown): unknown {
    return this.#open.has(endId) ? thrown : this.#gone(endId);
  }

  async #busy<T>(end: OpenEnd, work: () => Promise<T>): Promise<T> {
    end.busy += 1;
    try {
      return await work();
    } catch (thrown) {
      throw this.#whyOf(end, thrown);
    } finally {
      end.busy -= 1;
      end.usedAtMs = this.#parts.clock.monotonicMs();
    }
  }

  async *#counted(end: OpenEnd, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    end.busy += 1;
    try {
      for await (const chunk of chunks) {
        end.bytes += chunk.length;
        yield chunk;
      }
    } catch (thrown) {
      throw this.#whyOf(end, thrown);
    } finally {
      end.busy -= 1;
      end.usedAtMs = this.#parts.clock.monotonicMs();
    }
  }

  /** Nobody waits for it; a thread that has ended has let go of its files. */
  #closeBehind(end: OpenEnd, leaving: Omit<EndClose, 'endId'>): void {
    this.#close(end, leaving).catch(() => undefined);
  }

  async #close(
    end: OpenEnd,
    leaving: Omit<EndClose, 'endId'>,
    rest: Rest = leaving.outcome === 'done' ? 'none' : 'kept',
  ): Promise<void> {
    if (!this.#open.delete(end.endId)) return;
    try {
      await this.#parts.disk.call('close', { endId: end.endId, rest });
    } finally {
      end.release();
      if (isOfPeer(end)) this.#parts.onEnd(this.#row(end, leaving));
    }
  }

  #row(
    { endId, role, caller, about, startedAt, startedAtMs, bytes }: Omit<OpenEnd, 'usedAtMs' | 'busy'>,
    leaving?: Omit<EndClose, 'endId'>,
  ): Transfer {
    const { clock } = this.#parts;
    const { files = 0, failed = 0, outcome = 'lost' } = leaving ?? {};
    return {
      transferId: endId,
      role,
      ...about,
      state: leaving === undefined ? 'running' : 'ended',
      ...(leaving === undefined ? {} : { outcome, endedAt: clock.now() }),
      caller,
      startedAt,
      duration: clock.monotonicMs() - startedAtMs,
      counting: false,
      files: { found: files + failed, done: files, skipped: 0, failed },
      folders: 0,
      links: 0,
      removed: 0,
      bytes: { found: bytes, sent: bytes, done: bytes },
      failures: [],
    };
  }

  #forgetOld(): void {
    const now = this.#parts.clock.monotonicMs();
    for (const end of this.#open.values())
      if (end.busy === 0 && now - end.usedAtMs > FORGET_MS) this.#closeBehind(end, {});
    if (this.#open.size > 0) return;
    this.#look?.cancel();
    this.#look = undefined;
  }

  #forgetAll(): void {
    for (const end of this.#open.values()) end.release();
    this.#open.clear();
  }
}

/** What this node's own movers open is seen as their movement. */
const isOfPeer = ({ caller }: Pick<OpenEnd, 'caller'>): boolean => caller.startsWith('peer:');

const nodeIdOf = (caller: Caller): string => (caller.kind === 'peer' ? caller.nodeId : '');
