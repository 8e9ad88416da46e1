import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import { MAX_PAGE_ITEMS, Page } from '../../kernel/page.ts';
import type { AuditRecord } from '../../protocol/audit.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import { type AppendLog, openAppendLog } from '../../store/append-log.ts';
import type { LogBounds } from '../../store/rotated-file.ts';
import type { StreamSource } from '../edge/call.ts';
import { Follower } from './follower.ts';
import { lineOf, recordOf } from './line.ts';
import { CHATTER, FLOODS, HEARTBEATS, Repeats } from './repeats.ts';

/** What an audit log is made of. The bounds are config `audit`. */
export interface AuditLogOptions extends LogBounds {
  readonly file: string;
  readonly clock: Clock;
  /** The nodeId of the peer that a name or a part of an id stands for. */
  readonly peerIdOf?: (reference: string) => string | undefined;
}

/** Which records are wanted. */
export type AuditQuery = ParsedInputOf<'audit.list'>;
type FollowQuery = ParsedInputOf<'audit.follow'>;

const FLUSH_MS = 500;
const DEFAULT_LIMIT = 100;
const MAX_FOLLOWERS = 32;
/** Records stand in the order in which they were decided, counts where their time was up: so much may lie between. */
const DISORDER_MS = HEARTBEATS.windowMs + FLOODS.windowMs + 2 * CHATTER.windowMs;

/** Who asked for what, and what came of it: one line a request, repeats and chatter counted. */
export class AuditLog implements Service {
  readonly name = 'audit';
  readonly #log: AppendLog;
  /** The first takes every record; each passes on to the next. */
  readonly #repeats: readonly [Repeats, Repeats, Repeats];
  readonly #followers = new Set<Follower>();
  readonly #peerIdOf: (reference: string) => string | undefined;

  constructor({ file, clock, maxBytes, keep, peerIdOf }: AuditLogOptions) {
    this.#log = openAppendLog({ file, clock, flushMs: FLUSH_MS, maxBytes, keep });
    const chatter = new Repeats(CHATTER, clock, (record) => this.#append(record));
    const floods = new Repeats(FLOODS, clock, (record) => chatter.take(record));
    this.#repeats = [new Repeats(HEARTBEATS, clock, (record) => floods.take(record)), floods, chatter];
    this.#peerIdOf = peerIdOf ?? (() => undefined);
  }

  async start(): Promise<void> {
    // The file is opened by the first line.
  }

  async stop(): Promise<void> {
    for (const follower of this.#followers) follower.close();
    for (const repeats of this.#repeats) repeats.flush();
    await this.#log.close();
  }

  /** Takes the record of one request; it is written within a second. */
  record(record: AuditRecord): void {
    this.#repeats[0].take(record);
  }

  /**
   * Resolves when all records taken before are on the disk.
   * @throws {LoopsyError} `internal`, where the disk does not take them: what they are about has been done.
   */
  async flush(): Promise<void> {
    try {
      await this.#log.flush({ sync: true });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new LoopsyError('internal', {
        message: `this was done, but the audit log can not be written: ${reason}`,
        hint: 'make room on the disk of that node; what it can not write yet, it writes then',
        cause: error,
      });
    }
  }

  /** New bounds, in force at the next rotation. */
  setBounds({ maxBytes, keep }: LogBounds): void {
    this.#log.setBounds({ maxBytes, keep });
  }

  /** The records that match, the newest first, page by page. */
  async list(query: AuditQuery): Promise<OutputOf<'audit.list'>> {
    const matches = this.#filterOf(query);
    const oldest = query.since === undefined ? -Infinity : query.since - DISORDER_MS;
    const page = new Page<AuditRecord>({ limit: query.limit ?? DEFAULT_LIMIT });
    const records = page.items;
    let nextCursor: string | undefined;
    for await (const { line, cursor } of this.#log.tail(query.cursor)) {
      const record = recordOf(line);
      if (record === undefined) continue;
      if (record.timestamp + record.duration < oldest) break;
      if (!matches(record)) continue;
      if (!page.add(record)) return nextCursor === undefined ? { records } : { records, nextCursor };
      if (page.isFull) return { records, nextCursor: cursor };
      nextCursor = cursor;
    }
    return { records };
  }

  /** New records that match, as they come; with `since` or `limit`, those that are there first, the oldest first. */
  follow(query: FollowQuery): StreamSource {
    if (this.#followers.size >= MAX_FOLLOWERS) {
      throw new LoopsyError('too_many_streams', { message: `${MAX_FOLLOWERS} readers follow the audit log already` });
    }
    const wantsPast = query.since !== undefined || query.limit !== undefined;
    const follower: Follower = new Follower({
      matches: this.#filterOf(query),
      // Asked for at once: what is recorded from now on is followed.
      past: wantsPast ? this.#past(query) : Promise.resolve([]),
      onClose: () => this.#followers.delete(follower),
    });
    this.#followers.add(follower);
    return follower;
  }

  async #past(query: FollowQuery): Promise<readonly AuditRecord[]> {
    return (await this.list({ limit: MAX_PAGE_ITEMS, ...query })).records;
  }

  #append(record: AuditRecord): void {
    const line = lineOf(record);
    this.#log.append(line);
    for (const follower of this.#followers) follower.offer(record, line);
  }

  #filterOf({ node, operation, since, denied }: FollowQuery): (record: AuditRecord) => boolean {
    const isPeers = node === undefined ? () => true : this.#peerFilter(node);
    return (record) =>
      (operation === undefined || record.operation === operation) &&
      (since === undefined || record.timestamp >= since) &&
      (denied === undefined || denied === (record.decision !== 'allowed')) &&
      isPeers(record);
  }

  /** Both directions: what a peer asked for, and what was asked of it through this node. */
  #peerFilter(peer: string): (record: AuditRecord) => boolean {
    const callers = new Set([`peer:${peer}`, `peer:${this.#peerIdOf(peer) ?? peer}`]);
    return (record) => record.peer === peer || record.fromIp === peer || callers.has(record.caller);
  }
}
