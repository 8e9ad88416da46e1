import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { unmapped } from '../../kernel/unmapped.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import { MAX_PAIR_WAIT_MS, type PairRole } from '../../protocol/pairing.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import type { OwnMachine } from '../../trust/pairing-hello.ts';
import { HostPairing } from '../../trust/pairing-host.ts';
import type { Message } from '../../trust/pairing-messages.ts';
import { PairingParty, readSettle } from '../../trust/pairing-party.ts';
import type { Wish } from '../../trust/pairing-record.ts';
import type { TrustBook } from '../../trust/pins.ts';
import { Spake2 } from '../../trust/spake2.ts';
import type { TrustChange } from '../../trust/trust-changes.ts';
import type { Address } from '../peers/dial.ts';
import { Changes } from './changes.ts';
import { Joining, readCode } from './joining.ts';
import { Parties, TOLD_MS, type Driven } from './parties.ts';
import { clashOf, hostView, IDLE, joinerView, partyView, peerOf, type View } from './view.ts';

/** What pairing needs. */
export interface PairingParts {
  readonly trust: TrustBook;
  readonly clock: Clock;
  readonly log: Log;
  /** This machine, as it is called now. */
  readonly own: () => OwnMachine;
  /** Where others may find it, the likeliest first. */
  readonly addresses: () => readonly string[];
  readonly peers: {
    /** A machine is about to be trusted: where it was met. */
    expect(nodeId: string, at: Address | undefined): void;
    /** It is trusted now. */
    paired(nodeId: string): Promise<void>;
  };
}

type Started = ParsedInputOf<'pair.start'>;
type Choices = Pick<Started, 'name' | 'grant'>;

/** A role that this machine plays at most once at a time. */
interface Turn<Pairing> {
  readonly pairing: Pairing;
  readonly choices: Choices;
  /** Counts up: which was begun last. */
  readonly order: number;
  /** There once both screens show the number. */
  driven?: Driven;
  endedAtMs?: number;
}

const TICK_MS = 1000;
const PEER = 'peer:';

const wishOf = ({ name, grant }: Choices): Wish => ({
  ...(name === undefined ? {} : { name }),
  ...(grant === undefined ? {} : { grant: { level: grant } }),
});

/** Two machines that share a code, and the person at this one: the sockets, the disk and the clock around the pure core. */
export class Pairing implements Service {
  readonly name = 'pairing';
  readonly #parts: PairingParts;
  readonly #changes = new Changes();
  readonly #parties: Parties;
  #host: Turn<HostPairing> | undefined;
  #joiner: Turn<Joining> | undefined;
  #turns = 0;
  #spake2: Promise<Spake2> | undefined;
  #ticks: Timer | undefined;
  #unfollow: () => void = () => undefined;

  constructor(parts: PairingParts) {
    const { clock, log, trust, peers } = parts;
    this.#parts = parts;
    this.#parties = new Parties({
      clock,
      log,
      carryOut: (effect) => trust.carryOutPairing(effect),
      expect: ({ facts: { peer, place } }) =>
        peers.expect(peer.machineId, place === undefined ? undefined : { host: place.host, port: place.port }),
      paired: ({ facts: { peer } }) =>
        void peers.paired(peer.machineId).catch((error: unknown) => log.warn('peer not met', { error: String(error) })),
      changed: () => this.#changes.note(),
    });
  }

  /** Goes on with what people here said yes to. */
  async start(): Promise<void> {
    const { trust, clock } = this.#parts;
    this.#unfollow = trust.onChange((changes) => this.#dropRemoved(changes));
    for (const record of trust.pairings()) {
      const { machineId } = record.peer;
      const isKnown = trust.machine(machineId) ?? trust.suspended().find((machine) => machine.machineId === machineId);
      if (record.stage === 'trusted' && isKnown === undefined)
        await trust.carryOutPairing({ kind: 'forget', id: record.id });
      else this.#parties.add(PairingParty.resume(record, clock));
    }
  }

  async stop(): Promise<void> {
    this.#unfollow();
    this.#ticks?.cancel();
    this.#joiner?.pairing.stop();
    this.#parties.stop();
  }

  /** Shows a code. @throws {LoopsyError} `pair_open` while one is. */
  async open({ invite, ...choices }: Started): Promise<OutputOf<'pair.start'>> {
    this.#refuseSecond(this.#host, 'host');
    const spake2 = await this.#loadSpake2();
    this.#refuseSecond(this.#host, 'host');
    const pairing = new HostPairing({
      spake2,
      own: this.#parts.own(),
      clock: this.#parts.clock,
      isJoining: () => this.#isComparing,
      ...(invite === true ? { invitation: wishOf(choices) } : {}),
    });
    this.#host = this.#begin(pairing, choices);
    const { code = '', expiresInMs } = pairing.status;
    const { clock, addresses } = this.#parts;
    return { inviteCode: code, expiresAt: Math.round(clock.now() + expiresInMs), addresses: [...addresses()] };
  }

  /** Enters a code. What comes of it is told by `status`. @throws {LoopsyError} `pair_open`, `invalid_request`. */
  async join({ address, port, code: entered, ...choices }: ParsedInputOf<'pair.join'>): Promise<OutputOf<'pair.join'>> {
    this.#refuseSecond(this.#joiner, 'joiner');
    const code = readCode(entered);
    if (address === undefined) throw noAddress(code.kind);
    const spake2 = await this.#loadSpake2();
    this.#refuseSecond(this.#joiner, 'joiner');
    const { clock, own } = this.#parts;
    const place = { host: address, port: port ?? DEFAULT_PORT };
    const hosting = (): string | undefined => this.#host?.pairing.peerId;
    const metBefore = hosting();
    // Only who proves this node's code meanwhile joins it at the same time.
    const meets = (): string | undefined => (hosting() === metBefore ? undefined : hosting());
    const joining = new Joining({
      spake2,
      own: own(),
      clock,
      code,
      place,
      hosting: meets,
      changed: () => this.#changes.note(),
    });
    const turn = this.#begin(joining, choices);
    this.#joiner = turn;
    void joining.run().then((party) => {
      if (party !== undefined) {
        turn.driven = this.#parties.add(party);
        this.#host?.pairing.giveWay(party.facts.peer.machineId);
      }
      this.#changes.note();
    });
    return { state: this.#view('joiner').state };
  }

  /** The person's yes, on disk when it resolves, or no. @throws {LoopsyError} `conflict` before there is a number. */
  async confirm(input: ParsedInputOf<'pair.confirm'>): Promise<OutputOf<'pair.confirm'>> {
    const role = input.role ?? this.#latest();
    const turn = role === 'host' ? this.#host : this.#joiner;
    if (!input.confirmed) return this.#cancel(turn);
    const driven = turn?.driven;
    if (turn === undefined || driven === undefined) {
      throw new LoopsyError('conflict', {
        message: 'there is no number to compare yet',
        hint: '`loopsy pair` on both machines comes first',
      });
    }
    const { party } = driven.driver;
    await driven.driver.say(this.#wish(party, { ...turn.choices, ...input }), input.sas);
    const peer = peerOf(party, this.#parts.trust);
    const message =
      party.stage === 'settled' ? `paired with ${peer.name}` : `your yes is kept; waiting for ${peer.name}`;
    return { success: true, message, peer };
  }

  /** Where a pairing stands; with `wait`, once that is another than `since`. */
  async status(
    { role, wait = 0, since }: ParsedInputOf<'pair.status'>,
    signal: AbortSignal,
  ): Promise<OutputOf<'pair.status'>> {
    const { clock } = this.#parts;
    const ms = Math.min(wait, MAX_PAIR_WAIT_MS);
    await this.#changes.next(since ?? this.#changes.revision, { ms, clock, signal });
    const wanted = role ?? this.#latest();
    const view = wanted === undefined ? IDLE : this.#view(wanted);
    const chosen = (wanted === 'host' ? this.#host : this.#joiner)?.choices;
    return {
      ...view,
      ...(view.active && chosen !== undefined ? { chosen } : {}),
      revision: this.#changes.revision,
      ...(wanted === undefined ? {} : { role: wanted }),
    };
  }

  /** M1. @throws {LoopsyError} as the host does. */
  initiate(body: unknown, address: string | undefined): Promise<Message> {
    return this.#hostOrThrow()
      .initiate(body, address)
      .finally(() => this.#changes.note());
  }

  /** M3. */
  prove(body: unknown, address: string | undefined): Promise<Message> {
    return this.#hostOrThrow()
      .prove(body, address)
      .finally(() => this.#changes.note());
  }

  /** M5: from here on it is the party's. */
  reveal(body: unknown): Message {
    const pairing = this.#hostOrThrow();
    try {
      return pairing.reveal(body);
    } finally {
      const { party } = pairing;
      const turn = this.#host;
      if (party !== undefined && turn?.pairing === pairing) turn.driven ??= this.#parties.add(party, this.#standingYes);
      this.#changes.note();
    }
  }

  /** M7: held while there is no news. */
  async settle(body: unknown, signal: AbortSignal): Promise<Message> {
    const { attempt, tokens } = readSettle(body);
    const party = this.#parties.get(attempt)?.driver.party;
    if (party === undefined || party.facts.role !== 'host') throw new LoopsyError('pair_not_open');
    const words = party.hear(tokens);
    await this.#news(party, () => party.hasNewsFor(words), signal);
    return party.reply();
  }

  /** True for the address of one who has proved the code: it gets through where strangers crowd. */
  meets(address: string): boolean {
    const met = this.#host?.pairing.address;
    return met !== undefined && unmapped(met) === unmapped(address);
  }

  /** The key of a trusted machine was seen on a link, as one that trusts this machine. */
  contact(nodeId: string): void {
    for (const party of this.#parties.with(nodeId)) party.contact();
  }

  #begin<P>(pairing: P, choices: Choices): Turn<P> {
    this.#turns += 1;
    this.#ticks ??= this.#parts.clock.every(TICK_MS, () => this.#tick());
    this.#changes.note();
    return { pairing, choices, order: this.#turns };
  }

  #loadSpake2(): Promise<Spake2> {
    return (this.#spake2 ??= Spake2.load());
  }

  get #standingYes(): Wish | undefined {
    const turn = this.#host;
    return turn?.pairing.party?.saidYes === true ? wishOf(turn.choices) : undefined;
  }

  /** This machine joins another, which knows the code already: nobody proves one here meanwhile. */
  get #isComparing(): boolean {
    const { pairing } = this.#joiner?.pairing ?? {};
    return pairing?.state === 'proved' || (pairing?.party?.stage === 'compare' && !pairing.party.saidYes);
  }

  #hostOrThrow(): HostPairing {
    if (this.#host === undefined) throw new LoopsyError('pair_not_open');
    return this.#host.pairing;
  }

  /** A yes that is kept goes on by itself: it is no longer in the way. */
  #refuseSecond(turn: Turn<unknown> | undefined, role: PairRole): void {
    if (turn === undefined) return;
    const { active, state } = this.#view(role);
    if (active && state !== 'waiting-peer') throw new LoopsyError('pair_open');
  }

  #cancel(turn: Turn<HostPairing> | Turn<Joining> | undefined): OutputOf<'pair.confirm'> {
    if (turn === undefined) return { success: true, message: 'no pairing was open' };
    if (turn.driven !== undefined) turn.driven.driver.party.refuse();
    else turn.pairing.cancel();
    this.#changes.note();
    return { success: true, message: 'nothing was trusted' };
  }

  #wish({ facts: { peer } }: PairingParty, { replace, ...choices }: Choices & { replace?: boolean | undefined }): Wish {
    if (replace !== true) return wishOf(choices);
    const clash = clashOf(this.#parts.trust, peer, choices.name);
    if (clash !== undefined) return { ...wishOf(choices), name: clash.name, replaces: clash.nodeId };
    throw new LoopsyError('invalid_request', { message: 'no other peer has that name', details: { field: 'replace' } });
  }

  #latest(): PairRole | undefined {
    if (this.#host === undefined && this.#joiner === undefined) return this.#parties.list()[0]?.driver.party.facts.role;
    return (this.#host?.order ?? 0) > (this.#joiner?.order ?? 0) ? 'host' : 'joiner';
  }

  #view(role: PairRole): View {
    const { clock, trust } = this.#parts;
    const now = clock.now();
    const turn = role === 'host' ? this.#host : this.#joiner;
    const driven = turn?.driven ?? (turn === undefined ? this.#resumed(role) : undefined);
    if (driven !== undefined) {
      const [wanted, trouble] = [turn?.choices.name, driven.settling?.trouble];
      return partyView(driven.driver, { trust, now, wanted, trouble });
    }
    if (role === 'host') return this.#host === undefined ? IDLE : hostView(this.#host.pairing, now);
    return this.#joiner === undefined ? IDLE : joinerView(this.#joiner.pairing);
  }

  #resumed(role: PairRole): Driven | undefined {
    return this.#parties.list().find(({ driver }) => driver.party.facts.role === role);
  }

  /** Ends what is late, tells a new code or an end to those who wait, and forgets what was told. */
  #tick(): void {
    const seen = this.#host?.pairing.status.state;
    this.#host?.pairing.tick();
    if (this.#host?.pairing.status.state !== seen) this.#changes.note();
    if (this.#isTold('host', this.#host)) this.#host = undefined;
    if (this.#isTold('joiner', this.#joiner)) this.#joiner = undefined;
    this.#parties.prune();
  }

  #isTold(role: PairRole, turn: Turn<unknown> | undefined): boolean {
    if (turn === undefined) return false;
    const { driven } = turn;
    // Replaced, or its trust was removed: nobody waits for it.
    if (driven !== undefined && this.#parties.get(driven.driver.party.facts.attempt) !== driven) {
      this.#changes.note();
      return true;
    }
    if (this.#view(role).active) return false;
    const now = this.#parts.clock.monotonicMs();
    if (turn.endedAtMs === undefined) this.#changes.note();
    turn.endedAtMs ??= now;
    return now - turn.endedAtMs >= TOLD_MS;
  }

  /** Trust that a person took away is not waited for any more. */
  #dropRemoved(changes: readonly TrustChange[]): void {
    for (const { what, caller } of changes) {
      if (what !== 'removed' || !caller.startsWith(PEER)) continue;
      for (const party of this.#parties.with(caller.slice(PEER.length))) {
        if (party.stage !== 'trusted' || party.effect !== undefined) continue;
        this.#parties.drop(party);
        void this.#parts.trust.carryOutPairing({ kind: 'forget', id: party.facts.id });
      }
    }
  }

  async #news(party: PairingParty, isThere: () => boolean, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    if (isThere()) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel();
        unfollow();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = clock.after(MAX_PAIR_WAIT_MS, end);
      const unfollow = party.onChange(() => isThere() && end());
      signal.addEventListener('abort', end, { once: true });
    });
  }
}

const noAddress = (kind: 'digits' | 'invitation'): LoopsyError =>
  new LoopsyError('invalid_request', {
    message:
      kind === 'invitation'
        ? 'the machine of an invitation is not found by itself yet'
        : 'a code alone does not say which machine shows it',
    hint: 'give its address too: `loopsy pair <address> --code …`; `loopsy status` there shows it',
    details: { field: 'address' },
  });
