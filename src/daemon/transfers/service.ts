import { existsSync } from 'node:fs';

import type { Clock } from '../../kernel/clock.ts';
import { timeId } from '../../kernel/ids.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { TIMED_OUT, withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { rowOf, type OutputOf, type ParsedInputOf } from '../../protocol/operations.ts';
import type { Place, Transfer, TransferInput } from '../../protocol/transfers.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { allowedNow, maySee } from '../../trust/grants.ts';
import { Shares } from '../../trust/shares.ts';
import type { Store } from '../../store/store.ts';
import type { Call, StreamSource } from '../edge/call.ts';
import { DISK_PROTOCOL, type DiskRules } from './disk/messages.ts';
import { DiskThread } from './disk-thread.ts';
import type { Ends } from './ends.ts';
import type { Marks } from './known-folders.ts';
import { type EndContext, type Forwarding, localSource, localTarget, peerSource, peerTarget } from './make-ends.ts';
import type { Publisher } from '../events/bus.ts';
import { listTransfers } from './list-transfers.ts';
import { locatedEnds } from './located-ends.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { endedStream, Movement } from './movement.ts';
import { OpenEnds } from './open-ends.ts';
import { fewOf } from './few-sources.ts';
import { Progress } from './progress.ts';
import { type Pending, TransferRecords } from './records.ts';
import { TransferNews } from './tell.ts';

/** What transfers need. */
export interface TransfersOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly journalDir: string;
  /** Never read or written: the folders of this machine's nodes. */
  readonly alwaysDenied: readonly string[];
  readonly rules: () => DiskRules;
  readonly keepDays: () => number;
  readonly here: () => Place;
  /** A peer by its nodeId; undefined where it is not known any more. */
  readonly peer: (nodeId: string) => Place | undefined;
  readonly forward: Forwarding;
  readonly events: Publisher;
  /** This start of the node. */
  readonly boot: string;
  /** Who a stored caller is by what holds now; undefined: nobody. */
  readonly callerOf: (name: string) => Caller | undefined;
}

const CANCEL_LIMIT_MS = 5000;
/** A node that is away for longer fails a transfer that somebody watches. */
const PATIENCE_MS = 60_000;
/** One that outlives its request waits as long for a laptop to wake up. */
const DETACHED_PATIENCE_MS = 7 * 86_400_000;
/** Ended ones that are kept in memory, until the disk has them for sure. */
const KEPT = 100;
const DEFAULT_PAGE = 100;
const SHARES = { what: 'transfers', each: 50, owner: 200 };

/** Movements of files between nodes, and this node's ends of them. */
export class Transfers implements Service {
  readonly name = 'transfers';
  readonly ends: OpenEnds;
  /** What happens to files here, told to whoever follows it. */
  readonly news: TransferNews;
  readonly #options: TransfersOptions;
  readonly #disk: DiskThread;
  readonly #records: TransferRecords;
  readonly #movements = new Map<string, Movement>();
  readonly #shares = new Shares(SHARES);
  #stopping = false;

  constructor(options: TransfersOptions) {
    const { clock, log, platform, home, journalDir, alwaysDenied, rules, here, store, keepDays } = options;
    this.#options = options;
    this.news = new TransferNews(options.events, log);
    const data = () =>
      ({
        protocol: DISK_PROTOCOL,
        platform,
        home,
        nodeId: here().nodeId,
        alwaysDenied,
        journalDir,
        rules: rules(),
      }) as const;
    this.#disk = new DiskThread({ clock, log, data });
    this.#records = new TransferRecords({ store, clock, log, keepDays });
    this.ends = new OpenEnds({
      disk: this.#disk,
      clock,
      platform,
      here,
      placeOf: (caller) => this.#placeOf(caller),
      onOpen: (row) => this.news.started(row),
      onEnd: (row) => {
        this.#records.end(row);
        this.news.ended(row);
      },
    });
  }

  /** The disk thread, for what reads or writes one file. */
  get disk(): DiskThread {
    return this.#disk;
  }

  /** Goes on with what outlives the node. What can't go on is said to have failed, and keeps no node from starting. */
  async start(): Promise<void> {
    if (existsSync(this.#options.journalDir)) this.#disk.tidy();
    for (const pending of this.#records.pending()) {
      const { transferId, startedAt, input, marks } = pending;
      try {
        this.#move(input, this.#callerNow(pending), { transferId, startedAt, marks });
      } catch (thrown) {
        if (!(thrown instanceof LoopsyError)) throw thrown;
        this.#records.end(this.#failedRow(pending, thrown));
      }
    }
  }

  /** @throws {LoopsyError} where who began it may not do so any more. */
  #callerNow({ caller, input: { from, to } }: Pending): Caller {
    const now = this.#options.clock.now();
    return allowedNow(this.#options.callerOf(caller), { op: rowOf('transfer.start'), peers: [from, to], now });
  }

  #failedRow({ transferId, startedAt, input, caller }: Pending, { error, message }: LoopsyError): Transfer {
    const named = (nodeId: string | undefined): Place =>
      nodeId === undefined ? this.#options.here() : (this.#options.peer(nodeId) ?? { name: nodeId, nodeId });
    return {
      transferId,
      role: 'mover',
      from: named(input.from),
      to: named(input.to),
      ...fewOf(input.sources),
      dest: input.dest,
      state: 'ended',
      outcome: 'failed',
      caller,
      detached: true,
      startedAt,
      endedAt: this.#options.clock.now(),
      duration: 0,
      error,
      message,
      ...new Progress(() => undefined).snapshot(true),
      counting: false,
    };
  }

  /** Movements that outlive the node go on with its next start. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const movements = [...this.#movements.values()].filter(({ isOver }) => !isOver);
    for (const movement of movements) movement.cancel(new LoopsyError('node_stopping'));
    await withTimeLimit(Promise.allSettled(movements.map(({ ended }) => ended)), CANCEL_LIMIT_MS, this.#options.clock);
    this.ends.stop();
    this.#disk.stop();
  }

  /** The config has changed. */
  refresh(): void {
    this.#disk.setRules(this.#options.rules());
  }

  /** Begins a movement behind the answer. */
  async begin(input: TransferInput, call: Call): Promise<Transfer> {
    const transferId = timeId(this.#options.clock);
    const startedAt = this.#options.clock.now();
    if (input.detach === true)
      await this.#records.begin({ transferId, input, caller: callerName(call.caller), startedAt });
    try {
      const movement = this.#move(input, call.caller, { transferId, startedAt });
      call.announce(transferId);
      return movement.row();
    } catch (thrown) {
      // What did not begin is not gone on with at the next start.
      if (input.detach === true) await this.#records.forget(transferId);
      throw thrown;
    }
  }

  /** Begins a movement that ends with its reader. */
  async run(input: TransferInput, call: Call): Promise<StreamSource> {
    const movement = this.#move({ ...input, detach: undefined }, call.caller, {
      transferId: timeId(this.#options.clock),
    });
    call.announce(movement.id);
    return movement.follow(() => movement.cancel());
  }

  get({ transferId }: { readonly transferId: string }, caller: Caller): Transfer {
    const row = this.#movements.get(transferId)?.row() ?? this.#endRow(transferId) ?? this.#records.get(transferId);
    if (row !== undefined && maySee(caller, row.caller)) return row;
    throw new LoopsyError('transfer_not_found', { message: `no transfer ${transferId} was started by this caller` });
  }

  follow({ transferId }: { readonly transferId: string }, caller: Caller): StreamSource {
    const row = this.get({ transferId }, caller);
    return this.#movements.get(transferId)?.follow() ?? endedStream(row);
  }

  async cancel({ transferId }: { readonly transferId: string }, caller: Caller): Promise<OutputOf<'transfer.cancel'>> {
    const row = this.get({ transferId }, caller);
    const movement = this.#movements.get(transferId);
    if (movement === undefined && this.ends.knows(transferId)) {
      const resumable = await this.ends.cancel(transferId, caller);
      return { success: true, transferId, state: 'cancelled', resumable };
    }
    if (movement === undefined || row.state === 'ended')
      return { success: true, transferId, state: 'ended', resumable: false };
    movement.cancel();
    if ((await withTimeLimit(movement.ended, CANCEL_LIMIT_MS, this.#options.clock)) === TIMED_OUT)
      throw new LoopsyError('request_timeout', { message: 'the transfer is ending, and takes its time' });
    const isCancelled = movement.row().outcome === 'cancelled';
    return { success: true, transferId, state: isCancelled ? 'cancelled' : 'ended', resumable: isCancelled };
  }

  /** Newest first; other nodes' readings and writings here are among them. */
  async list(
    { state, cursor, limit = DEFAULT_PAGE }: ParsedInputOf<'transfer.list'>,
    caller: Caller,
  ): Promise<OutputOf<'transfer.list'>> {
    const all = state === 'all';
    const movements = [...this.#movements.values()].map((movement) => movement.row());
    const now = [...movements, ...this.ends.rows()].filter((row) => all || row.state !== 'ended');
    const sources = {
      live: all ? [...this.#records.fresh(), ...now] : now,
      stored: all ? (after: string | undefined, most: number) => this.#records.page(after, most) : undefined,
      isShown: (row: Transfer) => maySee(caller, row.caller),
    };
    return listTransfers(sources, { cursor, limit });
  }

  /** Ends what revoked callers have under way. @returns how many. */
  endOf(matches: (caller: string) => boolean, reason: 'revoked' | 'expired_key' | 'scope_missing'): number {
    const mine = [...this.#movements.values()].filter((movement) => !movement.isOver && matches(movement.caller));
    for (const movement of mine) movement.cancel(new LoopsyError(reason));
    return mine.length + this.ends.endOf(matches);
  }

  /** How many go on. */
  get active(): number {
    return [...this.#movements.values()].filter(({ isOver }) => !isOver).length + this.ends.rows().length;
  }

  /** True where it is one of this node's own. */
  knows(transferId: string): boolean {
    return (
      this.#movements.has(transferId) || this.ends.knows(transferId) || this.#records.get(transferId) !== undefined
    );
  }

  #endRow(transferId: string): Transfer | undefined {
    return this.ends.rows().find((row) => row.transferId === transferId);
  }

  #placeOf(caller: Caller): Place {
    if (caller.kind !== 'peer') return this.#options.here();
    return this.#options.peer(caller.nodeId) ?? { name: caller.nodeId, nodeId: caller.nodeId };
  }

  #move(
    input: TransferInput,
    caller: Caller,
    more: { readonly transferId: string; readonly startedAt?: number; readonly marks?: Marks | undefined },
  ): Movement {
    const { clock } = this.#options;
    const from = this.#place(input.from);
    const to = this.#place(input.to);
    const release = this.#shares.take(caller);
    const patienceMs = input.detach === true ? DETACHED_PATIENCE_MS : PATIENCE_MS;
    const { transferId, startedAt = clock.now() } = more;
    const pending = { transferId, input, caller: callerName(caller), startedAt };
    const movement = new Movement({
      ...more,
      ...(input.detach === true
        ? { onMarks: (marks) => diskErrors('transfers', () => this.#records.begin({ ...pending, marks })) }
        : {}),
      boot: this.#options.boot,
      input,
      caller,
      from,
      to,
      clock,
      patienceMs,
      ends: this.#endsOf(input, { from, to }, caller),
    });
    this.#movements.set(movement.id, movement);
    this.news.started(movement.row());
    movement.ended.finally(release).then(
      () => this.#ended(movement, input),
      // It says its end itself: a failure of that is ours.
      (thrown: unknown) => this.#options.log.error('a transfer has lost its end', { error: String(thrown) }),
    );
    return movement;
  }

  /** The edge has replaced names by ids. */
  #place(nodeId: string | undefined): Place {
    if (nodeId === undefined) return this.#options.here();
    const place = this.#options.peer(nodeId);
    if (place === undefined) throw new LoopsyError('peer_not_found');
    return place;
  }

  #endsOf(input: TransferInput, { from, to }: { from: Place; to: Place }, caller: Caller): Ends {
    const { forward } = this.#options;
    const context = (signal: AbortSignal): EndContext => ({ caller, signal });
    return locatedEnds({
      source: (signal) =>
        input.from === undefined
          ? localSource(this.ends, from, context(signal))
          : peerSource(forward, from, context(signal)),
      target: (signal) =>
        input.to === undefined ? localTarget(this.ends, to, context(signal)) : peerTarget(forward, to, context(signal)),
    });
  }

  #ended(movement: Movement, input: TransferInput): void {
    // One that outlives the node is gone on with at its next start.
    if (!this.#stopping || input.detach !== true) {
      this.#records.end(movement.row());
      this.news.ended(movement.row());
    }
    const over = [...this.#movements.values()].filter(({ isOver }) => isOver);
    for (const { id } of over.slice(0, Math.max(0, over.length - KEPT))) this.#movements.delete(id);
  }
}
