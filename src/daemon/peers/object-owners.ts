import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import type { Change, Store } from '../../store/store.ts';
import { writeBehind } from '../../store/write-behind.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { ObjectOwners, Target } from '../edge/parts.ts';

interface Remembered {
  readonly nodeId: string;
  readonly name: string;
  readonly owner: string;
}

const PREFIX = 'remote/';
const MAX_CACHED = 1000;
/** For what outlives its request: how long it may go on, beside how long its end is kept. */
const LASTING_MS = 365 * 86_400_000;

const isRemembered = (value: unknown): value is Remembered =>
  typeof value === 'object' && value !== null && 'nodeId' in value && 'name' in value && 'owner' in value;

/**
 * Who started which object on another node: the peer sees all callers of this machine as one, so this node decides
 * before it forwards. What nobody remembers is the owner's alone.
 */
export class RemoteObjects implements ObjectOwners {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keepMs: () => number;
  #recent = new Map<string, Remembered>();

  /** @param keepMs how long a finished object can still be asked for. */
  constructor(store: Store, { clock, log, keepMs }: { clock: Clock; log: Log; keepMs: () => number }) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#keepMs = keepMs;
  }

  record(objectId: string, peer: Target, caller: Caller): void {
    writeBehind(this.#store, this.#remember(objectId, { peer, caller, keepMs: this.#keepMs() }), this.#log);
  }

  async keep(objectId: string, peer: Target, caller: Caller): Promise<void> {
    await this.#store.commit(this.#remember(objectId, { peer, caller, keepMs: this.#keepMs() + LASTING_MS }));
  }

  /** What has to be written for it. */
  #remember(objectId: string, { peer, caller, keepMs }: { peer: Target; caller: Caller; keepMs: number }): Change[] {
    // An id that a peer made up must not lead away from what lives elsewhere.
    const known = this.#find(objectId);
    if (known !== undefined && known.nodeId !== peer.nodeId) return [];
    const remembered = { nodeId: peer.nodeId, name: peer.name, owner: callerName(caller) };
    this.#recent.set(objectId, remembered);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > MAX_CACHED && oldest !== undefined) this.#recent.delete(oldest);
    const expiresAt = this.#clock.now() + keepMs;
    return [{ put: `${PREFIX}${objectId}`, value: JSON.stringify(remembered), expiresAt }];
  }

  maySee(caller: Caller, objectId: string): boolean {
    return maySee(caller, this.#find(objectId)?.owner);
  }

  /** The peer on which an object lives that was started from here. */
  locate(objectId: string): Target | undefined {
    return this.#find(objectId);
  }

  #find(objectId: string): Remembered | undefined {
    const recent = this.#recent.get(objectId);
    if (recent !== undefined) return recent;
    const entry = this.#store.get(`${PREFIX}${objectId}`);
    if (entry === undefined) return undefined;
    const value: unknown = JSON.parse(entry.value);
    return isRemembered(value) ? value : undefined;
  }
}
