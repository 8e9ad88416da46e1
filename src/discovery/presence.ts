import type { Clock, Timer } from '../kernel/clock.ts';

/** Whether a peer answers. */
type Presence = 'online' | 'offline' | 'unknown';

/** What a heartbeat found. */
export type Beat =
  | { readonly ok: true; readonly latencyMs: number }
  | { readonly ok: false; readonly reason: string; readonly refused?: boolean };

/** One peer's state. */
export interface PresenceState {
  readonly presence: Presence;
  readonly latencyMs: number | undefined;
  /** Why it is offline. */
  readonly reason: string | undefined;
  /** True where it answers, and wants nothing of this node. */
  readonly refused?: boolean | undefined;
}

/** How presence reaches the peers. */
export interface PresenceParts {
  readonly clock: Clock;
  /** One heartbeat over the link; it never rejects and ends within `limitMs`. */
  readonly beat: (nodeId: string, limitMs: number) => Promise<Beat>;
  readonly onChange: (nodeId: string, state: PresenceState) => void;
  /** Neither side has heard from the other for long: called at each beat that fails from then on. */
  readonly onSilence: (nodeId: string) => void;
}

/** A beat this long after the last; an online peer that is silent is found within two of them and both limits. */
const BEAT_EVERY_MS = 2500;
/** The pause between two tries to reach an offline peer, with the try's own limit well under 3 s. */
const RETRY_EVERY_MS = 800;
/** The longest that a beat may take. */
const BEAT_LIMIT_MS = 2500;
const RETRY_LIMIT_MS = 1700;
const FAILURES_TO_OFFLINE = 2;
/** An offline peer that made no contact of its own for so long is silent: it would have tried three times. */
const SILENCE_MS = 10_000;

interface Watched {
  state: PresenceState;
  failures: number;
  /** The last contact, whoever made it; monotonic. */
  contactAtMs: number;
  beating: boolean;
  timer: Timer | undefined;
}

const UNKNOWN: PresenceState = { presence: 'unknown', latencyMs: undefined, reason: undefined };

/**
 * Watches whether peers answer: offline within 10 s of a lost peer, online within 3 s of its return. It starts no
 * process and decides no trust.
 */
export class PresenceWatch {
  readonly #parts: PresenceParts;
  #watched = new Map<string, Watched>();
  #stopped = false;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  /** Begins to watch a peer; a second call beats at once. */
  watch(nodeId: string): void {
    if (this.#stopped) return;
    const peer = this.#watched.get(nodeId) ?? this.#unknown();
    this.#watched.set(nodeId, peer);
    this.#schedule(nodeId, peer, 0);
  }

  /** Watches a peer, beginning with what a beat found that somebody waited for. */
  found(nodeId: string, beat: Beat): void {
    if (this.#stopped) return;
    const peer = this.#watched.get(nodeId) ?? this.#unknown();
    this.#watched.set(nodeId, peer);
    this.#settle(nodeId, peer, beat);
  }

  /** Stops watching a peer that is no longer trusted. */
  forget(nodeId: string): void {
    this.#watched.get(nodeId)?.timer?.cancel();
    this.#watched.delete(nodeId);
  }

  state(nodeId: string): PresenceState {
    return this.#watched.get(nodeId)?.state ?? UNKNOWN;
  }

  /** The peer itself made contact, so it is there; whether it can be reached from here, the next beat tells. */
  heard(nodeId: string): void {
    const peer = this.#watched.get(nodeId);
    if (peer === undefined || this.#stopped) return;
    peer.contactAtMs = this.#parts.clock.monotonicMs();
    if (peer.state.presence !== 'online') this.#schedule(nodeId, peer, 0);
  }

  /** An exchange over the link failed: look now, not at the next beat. */
  suspect(nodeId: string): void {
    const peer = this.#watched.get(nodeId);
    if (peer !== undefined && !this.#stopped) this.#schedule(nodeId, peer, 0);
  }

  stop(): void {
    this.#stopped = true;
    for (const nodeId of [...this.#watched.keys()]) this.forget(nodeId);
  }

  #unknown(): Watched {
    const contactAtMs = this.#parts.clock.monotonicMs();
    return { state: UNKNOWN, failures: 0, contactAtMs, beating: false, timer: undefined };
  }

  #schedule(nodeId: string, peer: Watched, ms: number): void {
    peer.timer?.cancel();
    peer.timer = undefined;
    if (peer.beating) return;
    if (ms === 0) void this.#beat(nodeId, peer);
    else peer.timer = this.#parts.clock.after(ms, () => void this.#beat(nodeId, peer));
  }

  async #beat(nodeId: string, peer: Watched): Promise<void> {
    if (peer.beating) return;
    peer.beating = true;
    const limitMs = peer.state.presence === 'online' ? BEAT_LIMIT_MS : RETRY_LIMIT_MS;
    const beat = await this.#parts.beat(nodeId, limitMs);
    peer.beating = false;
    if (this.#stopped || this.#watched.get(nodeId) !== peer) return;
    this.#settle(nodeId, peer, beat);
  }

  #settle(nodeId: string, peer: Watched, beat: Beat): void {
    if (beat.ok) this.#alive(nodeId, peer, beat.latencyMs);
    else this.#failed(nodeId, peer, beat);
  }

  #alive(nodeId: string, peer: Watched, latencyMs: number): void {
    peer.failures = 0;
    peer.contactAtMs = this.#parts.clock.monotonicMs();
    this.#set(nodeId, peer, { presence: 'online', latencyMs, reason: undefined });
    this.#schedule(nodeId, peer, BEAT_EVERY_MS);
  }

  #failed(nodeId: string, peer: Watched, { reason, refused }: Extract<Beat, { ok: false }>): void {
    peer.failures += 1;
    // One lost beat is not a lost peer; a second one at once decides.
    if (peer.state.presence === 'online' && peer.failures < FAILURES_TO_OFFLINE) {
      this.#schedule(nodeId, peer, 0);
      return;
    }
    this.#set(nodeId, peer, { presence: 'offline', latencyMs: undefined, reason, refused });
    if (this.#parts.clock.monotonicMs() - peer.contactAtMs >= SILENCE_MS) this.#parts.onSilence(nodeId);
    this.#schedule(nodeId, peer, RETRY_EVERY_MS);
  }

  #set(nodeId: string, peer: Watched, state: PresenceState): void {
    const before = peer.state;
    peer.state = state;
    if (before.presence !== state.presence || before.reason !== state.reason) this.#parts.onChange(nodeId, state);
  }
}
