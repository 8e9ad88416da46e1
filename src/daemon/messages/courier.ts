import type { Clock } from '../../kernel/clock.ts';
import { timeOf } from '../../kernel/ids.ts';
import type { Log } from '../../kernel/log.ts';
import { type ErrorName, LoopsyError } from '../../protocol/errors.ts';
import { MAX_BATCH, MAX_NOTE, type CarriedMessage } from '../../protocol/messages.ts';
import type { InputOf, OutputOf } from '../../protocol/operations.ts';
import { type Change, type Entry, type Store, StoreConflict } from '../../store/store.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { dueIn } from './due.ts';
import type { Outbox } from './outbox.ts';
import { queued, waitingNodes, wasTried } from './queue.ts';
import { idIn, KEYS, readMessage } from './record.ts';
import { receiptsIn } from './rests.ts';
import { FIRST_PAUSE_MS, forget, newRoute, type Route, settled, understood } from './route.ts';

/** How nodes are reached. */
export interface Carrier {
  /** Whether the node answers, as far as is known; undefined where it is no peer any more. */
  readonly isOnline: (nodeId: string) => boolean | undefined;
  readonly nameOf: (nodeId: string) => string;
  /** @throws {Undelivered} where there was no answer. @throws {LoopsyError} what the node answered. */
  readonly deliver: (nodeId: string, batch: InputOf<'message.deliver'>) => Promise<OutputOf<'message.deliver'>>;
  /** @throws as `deliver`. */
  readonly receipts: (nodeId: string, receipts: InputOf<'message.receipts'>) => Promise<unknown>;
}

/** A node gave no answer. */
export class Undelivered extends Error {
  override readonly name = 'Undelivered';
  /** False where it surely got nothing. */
  readonly maybe: boolean;

  constructor(cause: unknown, maybe: boolean) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.maybe = maybe;
  }
}

/** What carries messages. */
export interface CourierParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly outbox: Outbox;
  readonly carrier: Carrier;
}

/** Bodies of one batch, in UTF-16 units; a larger one goes alone. */
const BATCH_LENGTH = 524_288;
const MAX_SETTLING = 4;
const LONGEST_PAUSE_MS = 60_000;

/** What a node answers that does not change by asking again: what is sent to it is refused. */
const FINAL: ReadonlySet<ErrorName> = new Set<ErrorName>(['scope_missing', 'expired_key', 'revoked', 'peer_not_found']);

type Results = OutputOf<'message.deliver'>['results'];

/**
 * Hands over what waits for other nodes: one batch after the other for each node, in the order of the ids, again and
 * again until the node has answered that it is on its disk.
 */
export class Courier {
  readonly #parts: CourierParts;
  readonly #routes = new Map<string, Route>();
  readonly #work = new Set<Promise<void>>();
  #epoch = '';
  #stopped = true;

  constructor(parts: CourierParts) {
    this.#parts = parts;
  }

  /** Goes on with all that waits. `epoch` names this outbox. */
  start(epoch: string): void {
    this.#epoch = epoch;
    this.#stopped = false;
    for (const nodeId of waitingNodes(this.#parts.store)) this.wake(nodeId);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#routes.values()) timer?.cancel();
    await Promise.all(this.#work);
  }

  /** Something waits for the node, or it has just been heard of: tried now. */
  wake(nodeId: string): void {
    if (this.#stopped) return;
    const route = this.#routeTo(nodeId);
    route.again = true;
    if (route.running) return;
    route.timer?.cancel();
    route.running = true;
    const work = this.#run(nodeId, route).finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  /** The node has made contact: what paused goes on. */
  contact(nodeId: string): void {
    const route = this.#routes.get(nodeId);
    if (route === undefined) return;
    route.pauseMs = FIRST_PAUSE_MS;
    if (route.timer !== undefined) this.wake(nodeId);
  }

  /** True while an answer about this message is awaited. */
  isUnderWay(nodeId: string, id: string): boolean {
    return this.#routes.get(nodeId)?.underWay.has(id) === true;
  }

  #routeTo(nodeId: string): Route {
    const known = this.#routes.get(nodeId);
    if (known !== undefined) return known;
    const route = newRoute(nodeId);
    this.#routes.set(nodeId, route);
    return route;
  }

  async #run(nodeId: string, route: Route): Promise<void> {
    route.timer = undefined;
    try {
      while (route.again && !this.#stopped) {
        route.again = false;
        while (!this.#stopped && (await this.#step(nodeId, route))) route.pauseMs = FIRST_PAUSE_MS;
      }
    } catch (thrown) {
      this.#pause(nodeId, route, thrown);
    } finally {
      route.running = false;
    }
  }

  /** Hands over the next batch. @returns false where nothing waits. @throws where it has to be tried again. */
  async #step(nodeId: string, route: Route): Promise<boolean> {
    const { store, carrier, outbox } = this.#parts;
    const limit = route.isAlone ? 1 : MAX_BATCH;
    const receipts = store.list({ prefix: KEYS.receipt(nodeId), limit });
    const prefix = KEYS.queue(nodeId);
    const behind = route.answered === undefined ? {} : { after: prefix + route.answered };
    const entries = store.list({ prefix, limit, ...behind });
    if (receipts.length + entries.length === 0) {
      await settled(route);
      route.isAlone = false;
      return false;
    }
    const ids = entries.map(({ key }) => idIn(key));
    const isOnline = carrier.isOnline(nodeId);
    if (isOnline !== undefined) route.name = carrier.nameOf(nodeId);
    try {
      if (isOnline === undefined) throw new LoopsyError('peer_not_found');
      if (!isOnline) throw new Undelivered('it is offline', false);
      await understood(route, receipts, {
        run: () => this.#tell(nodeId, receipts),
        giveUp: () => this.#drop(receipts),
      });
      await understood(route, entries, {
        run: () => this.#deliver(nodeId, entries, route),
        giveUp: (why) => outbox.refuse(nodeId, whyNot(route, why), ids),
      });
    } catch (thrown) {
      if (!(thrown instanceof LoopsyError) || !FINAL.has(thrown.error)) throw thrown;
      await settled(route);
      await this.#drop(receipts);
      await outbox.refuse(nodeId, whyNot(route, thrown));
    }
    return true;
  }

  async #tell(nodeId: string, entries: readonly Entry[]): Promise<void> {
    const receipts = receiptsIn(entries, this.#parts.store.now());
    await this.#parts.carrier.receipts(nodeId, { receipts });
    await this.#drop(entries);
  }

  /** What has been told is not told again, unless there is more to tell since. */
  async #drop(entries: readonly Entry[]): Promise<void> {
    const { store } = this.#parts;
    const gone = entries
      .filter(({ key, revision }) => store.get(key)?.revision === revision)
      .map(({ key, revision }): Change => ({ delete: key, ifRevision: revision }));
    try {
      await diskErrors('messages', () => store.commit(gone));
    } catch (thrown) {
      if (!(thrown instanceof StoreConflict)) throw thrown;
      await this.#drop(entries);
    }
  }

  async #deliver(nodeId: string, entries: readonly Entry[], route: Route): Promise<void> {
    const { carrier, store, outbox } = this.#parts;
    const now = store.now();
    const alive = entries.filter((entry) => dueIn(entry) > now);
    await outbox.expire(
      entries.filter((entry) => dueIn(entry) <= now),
      () => false,
    );
    const { batch, messages } = this.#batchOf(alive);
    if (messages.length === 0) {
      // Nothing is left of them but that they wait.
      await outbox.refuse(
        nodeId,
        'it is not there any more',
        alive.map(({ key }) => idIn(key)),
      );
      return;
    }
    for (const { id } of messages) route.underWay.add(id);
    try {
      if (!(await this.#mark(batch))) return forget(route, messages);
      const known = route.settled === undefined ? {} : { settled: route.settled };
      const { results } = await carrier.deliver(nodeId, { epoch: this.#epoch, messages, ...known });
      const answered = new Set(results.map(({ id }) => id));
      if (!messages.every(({ id }) => answered.has(id))) throw new Error('it has not answered for all messages');
      this.#settleBehind(nodeId, { route, results, messages });
    } catch (thrown) {
      if (thrown instanceof Undelivered && !thrown.maybe) await this.#unmark(batch);
      forget(route, messages);
      throw thrown;
    }
    if (route.settling.size >= MAX_SETTLING) await settled(route);
  }

  /** Writes down what became of a batch, while the next one is on its way: were it lost, it would be asked again. */
  #settleBehind(
    nodeId: string,
    { route, results, messages }: { route: Route; results: Results; messages: readonly CarriedMessage[] },
  ): void {
    route.answered = messages.at(-1)?.id;
    const settling = this.#settle(nodeId, results, messages)
      .catch((error: unknown) => void (route.failed = error instanceof Error ? error : new Error(String(error))))
      .finally(() => {
        forget(route, messages);
        route.settling.delete(settling);
        if (route.settling.size === 0 && route.failed === undefined) route.settled = route.answered;
      });
    route.settling.add(settling);
  }

  /** As many as go at once. */
  #batchOf(entries: readonly Entry[]): { batch: Entry[]; messages: CarriedMessage[] } {
    const { store } = this.#parts;
    const batch: Entry[] = [];
    const messages: CarriedMessage[] = [];
    let length = 0;
    for (const entry of entries) {
      const stored = readMessage(store, 'out', idIn(entry.key));
      if (stored === undefined) continue;
      length += stored.json.length;
      if (length > BATCH_LENGTH && messages.length > 0) break;
      const { id, fromAgent, by, toAgent, ts, type, thread, replyTo, hops, dueAt } = stored.head;
      const body = String(JSON.parse(stored.json));
      const now = store.now();
      const [ageMs, leftMs] = [Math.max(0, Math.floor(now - timeOf(id))), Math.max(1, Math.floor(dueAt - now))];
      batch.push(entry);
      messages.push({ id, fromAgent, by, toAgent, ts, type, thread, replyTo, hops, ageMs, leftMs, body });
    }
    return { batch, messages };
  }

  /** From here on it may have arrived. @returns false where something was taken back meanwhile. */
  async #mark(batch: readonly Entry[]): Promise<boolean> {
    const fresh = batch.filter((entry) => !wasTried(entry));
    if (fresh.length === 0) return true;
    return this.#rewrite(fresh, true);
  }

  /** It surely has not. */
  async #unmark(batch: readonly Entry[]): Promise<void> {
    const { store } = this.#parts;
    const entries = batch.flatMap(({ key }) => store.get(key) ?? []).filter(wasTried);
    if (entries.length > 0) await this.#rewrite(entries, false);
  }

  async #rewrite(entries: readonly Entry[], isTried: boolean): Promise<boolean> {
    const changes = entries.map((entry): Change => {
      const { key, revision } = entry;
      return { put: key, value: queued(dueIn(entry), isTried), ifRevision: revision };
    });
    try {
      await diskErrors('messages', () => this.#parts.store.commit(changes));
      return true;
    } catch (thrown) {
      if (thrown instanceof StoreConflict) return false;
      throw thrown;
    }
  }

  async #settle(nodeId: string, results: Results, messages: readonly CarriedMessage[]): Promise<void> {
    const { outbox, clock, carrier } = this.#parts;
    const at = clock.now();
    const asked = new Set(messages.map(({ id }) => id));
    const moves = results
      .filter(({ id }) => asked.has(id))
      .map(({ id, refused }) =>
        refused === undefined
          ? ({ id, state: 'delivered', at } as const)
          : ({
              id,
              state: 'refused',
              at,
              note: `${carrier.nameOf(nodeId)}: ${refused.message}`.slice(0, MAX_NOTE),
            } as const),
      );
    await outbox.advanceAll(moves, { also: (id) => [{ delete: KEYS.queue(nodeId, id) }] });
  }

  #pause(nodeId: string, route: Route, thrown: unknown): void {
    const { clock, log, carrier } = this.#parts;
    if (!(thrown instanceof Undelivered))
      log.warn('messages wait', { peer: carrier.nameOf(nodeId), error: thrown, againMs: route.pauseMs });
    if (this.#stopped) return;
    route.timer = clock.after(route.pauseMs, () => this.wake(nodeId));
    route.pauseMs = Math.min(LONGEST_PAUSE_MS, route.pauseMs * 2);
  }
}

const whyNot = ({ name }: Route, { error, message }: LoopsyError): string =>
  error === 'peer_not_found' ? `${name} is no peer of this node any more` : `${name} does not take it: ${message}`;
