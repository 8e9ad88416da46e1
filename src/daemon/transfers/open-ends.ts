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
import { Shares } from '../../trust/shares.ts';
import { limitsOf, mayWriteRunning } from './caller-limits.ts';
import { acknowledged } from './acknowledge.ts';
import type { Span } from './disk/incoming.ts';
import type { Rest } from './disk/journal.ts';
import type { StepWrite } from './disk/messages.ts';
import type { DiskThread } from './disk-thread.ts';
import { EndFailures } from './end-failures.ts';
import { type EndLeaving, type OpenEnd, refusedRow, rowOfEnd } from './end-row.ts';
import { fewOf } from './few-sources.ts';
import type { Body } from './pour.ts';
import { failureOf, type Failed } from './format.ts';
import { countIn } from './way.ts';

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
/** A movement has two; this node's own are bounded as movements. */
const SHARES = { what: 'transfers', each: 128, owner: 1000 };
/** Cancelled ones whose movers are told so. */
const MAX_CANCELLED = 1000;

/** What its mover may do then. */
const CANCELLED = {
  source: 'ask there before you run it again: it goes on where it was',
  target: 'ask there before you run it again: of files that were not complete nothing was kept',
} as const;

const platformOf = (platform: NodeJS.Platform): SourceOpened['platform'] =>
  platform === 'win32' || platform === 'darwin' ? platform : 'linux';

/** What this node reads and writes for movers: its own, and other nodes'. Each is its opener's alone. */
export class OpenEnds {
  readonly #parts: OpenEndsParts;
  readonly #open = new Map<string, OpenEnd>();
  readonly #cancelled = new Map<string, OpenEnd['role']>();
  readonly #shares = new Shares(SHARES);
  #look: Timer | undefined;

  constructor(parts: OpenEndsParts) {
    this.#parts = parts;
    parts.disk.onLost = () => this.#forgetAll();
  }

  async openSource(input: SourceOpen, caller: Caller): Promise<SourceOpened> {
    const { disk, platform, here, placeOf } = this.#parts;
    const to = caller.kind === 'peer' ? placeOf(caller) : { name: input.to ?? '', nodeId: '' };
    const about = { from: here(), to, ...fewOf(input.paths), dest: '' };
    return this.#opening({ role: 'source', about, boot: input.boot }, caller, async ({ endId, failures: seen }) => {
      const { paths, exclude = [], gitignore = false } = input;
      const answer = await disk.call('source.open', { endId, paths, exclude, gitignore, limits: limitsOf(caller) });
      const { roots, failed } = answer as { roots: SourceOpened['roots']; failed: Failed[] };
      const failures = failed.map((one) => failureOf(one));
      seen.take({ failed });
      return { endId, platform: platformOf(platform), roots, failures };
    });
  }

  async openTarget(input: TargetOpen, caller: Caller): Promise<TargetOpened> {
    const { disk, platform, here, placeOf } = this.#parts;
    const from = caller.kind === 'peer' ? placeOf(caller) : { name: input.from ?? '', nodeId: '' };
    const about = { from, to: here(), ...fewOf(input.roots.map(({ name }) => name)), dest: input.dest };
    return this.#opening({ role: 'target', about, boot: input.boot }, caller, async (end) => {
      const { endId } = end;
      const answer = await disk.call('target.open', {
        endId,
        journalKey: [callerName(caller), input.source, input.dest].join('\n'),
        dest: input.dest,
        roots: input.roots,
        several: input.several === true,
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
      const { paths, marks } = answer as Pick<TargetOpened, 'paths' | 'marks'>;
      if (paths.length === 1) end.path = paths[0];
      return { endId, platform: platformOf(platform), paths, marks };
    });
  }

  /** Bytes of a source. @throws {LoopsyError} `transfer_not_found` for what is not the caller's. */
  read(endId: string, want: SourceWant, caller: Caller): AsyncIterable<Uint8Array> {
    const end = this.#of(endId, caller, 'source');
    return this.#counted(end, want, this.#parts.disk.read({ endId, want }));
  }

  /** One step of a target. @throws {LoopsyError} `transfer_not_found` for what is not the caller's. */
  async write(endId: string, caller: Caller, { body, onBytes, ...step }: EndWrite): Promise<unknown> {
    const end = this.#of(endId, caller, 'target');
    const isPut = step.step === 'put';
    const isContent = isPut || step.step === 'batch';
    const count = (bytes: number): void => {
      if (isContent) end.sent += bytes;
      if (isPut) end.done += bytes;
      onBytes?.(bytes);
    };
    return this.#busy(end, async () => {
      const answer = await this.#parts.disk.write({ endId, ...step }, body, { onBytes: count });
      end.failures.take(answer);
      // Around the files of a batch stands more than they have.
      if (step.step === 'batch') end.done += countIn(answer, 'bytes');
      return answer;
    });
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

  /**
   * The owner of this machine, or who opened it, wants no more of it: its mover is told so. Of what is written here
   * nothing waits to be gone on with. @returns true where it can be gone on with.
   */
  async cancel(endId: string, caller: Caller): Promise<boolean> {
    const end = this.#of(endId, caller);
    this.#cancelled.set(endId, end.role);
    for (const oldest of this.#cancelled.keys()) {
      if (this.#cancelled.size <= MAX_CANCELLED) break;
      this.#cancelled.delete(oldest);
    }
    await this.#close(end, { outcome: 'cancelled' }, 'unwanted');
    return end.role === 'source';
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

  /** Its place among the caller's open ends, and the disk thread's while it has one. */
  #held(caller: Caller): () => void {
    const giveBack = this.#shares.take(caller);
    const release = this.#parts.disk.hold();
    return () => {
      giveBack();
      release();
    };
  }

  async #opening<T>(
    facts: Pick<OpenEnd, 'role' | 'about' | 'boot'>,
    caller: Caller,
    open: (end: OpenEnd) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#parts;
    await this.#closeOlder(caller, facts.boot);
    const end = this.#endOf(facts, caller, this.#held(caller));
    try {
      const opened = await open(end);
      end.usedAtMs = clock.monotonicMs();
      this.#open.set(end.endId, end);
      if (isOfPeer(end)) this.#parts.onOpen(this.#row(end));
      this.#look ??= clock.every(LOOK_MS, () => this.#forgetOld());
      return opened;
    } catch (thrown) {
      end.release();
      // What somebody else tried here is to be seen by the owner, too.
      if (isOfPeer(end) && thrown instanceof LoopsyError) this.#parts.onEnd(refusedRow(end, clock, thrown));
      throw thrown;
    }
  }

  #endOf(facts: Pick<OpenEnd, 'role' | 'about' | 'boot'>, caller: Caller, release: () => void): OpenEnd {
    const { clock } = this.#parts;
    const now = clock.monotonicMs();
    return {
      ...facts,
      endId: timeId(clock),
      caller: callerName(caller),
      nodeId: nodeIdOf(caller),
      release,
      failures: new EndFailures(),
      path: undefined,
      startedAt: clock.now(),
      startedAtMs: now,
      usedAtMs: now,
      sent: 0,
      done: 0,
      busy: 0,
    };
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
    const role = this.#cancelled.get(endId);
    if (role === undefined)
      return new LoopsyError('transfer_not_found', { message: `nothing is open here under the id ${endId}` });
    return new LoopsyError('transfer_cancelled', { message: 'the transfer was cancelled', hint: CANCELLED[role] });
  }

  /** What fails because its end was closed under it says that: it is no fault of a file. */
  #whyOf({ endId, failures }: OpenEnd, thrown: unknown): unknown {
    if (!this.#open.has(endId)) return this.#gone(endId);
    failures.takeThrown(thrown);
    return thrown;
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

  async *#counted(end: OpenEnd, want: SourceWant, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    end.busy += 1;
    try {
      for await (const chunk of chunks) {
        end.sent += chunk.length;
        if (want.kind === 'range') end.done += chunk.length;
        yield chunk;
      }
      if (want.kind === 'batch') end.done += want.files.reduce((sum, [, , size]) => sum + size, 0);
    } catch (thrown) {
      throw this.#whyOf(end, thrown);
    } finally {
      end.busy -= 1;
      end.usedAtMs = this.#parts.clock.monotonicMs();
    }
  }

  /** Nobody waits for it; a thread that has ended has let go of its files. */
  #closeBehind(end: OpenEnd, leaving: EndLeaving): void {
    this.#close(end, leaving).catch(() => undefined);
  }

  async #close(
    end: OpenEnd,
    leaving: EndLeaving,
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

  #row(end: OpenEnd, leaving?: EndLeaving): Transfer {
    return rowOfEnd(end, this.#parts.clock, leaving);
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
