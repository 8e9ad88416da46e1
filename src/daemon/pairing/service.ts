import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { pause } from '../../kernel/sleep.ts';
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
import { type Address, formatAddress } from '../peers/dial.ts';
import { Changes } from './changes.ts';
import { Joining, readCode } from './joining.ts';
import { Parties, TOLD_MS, type Driven } from './parties.ts';
import { grantWish } from '../../trust/grants.ts';
import { type Choices, factsOf, type HostTurn, type JoinerTurn, newTurnId, type Turn, Turns } from './turns.ts';
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

const TICK_MS = 1000;
const PEER = 'peer:';

const wishOf = ({ name, grant, folders }: Choices): Wish => ({
  ...(name === undefined ? {} : { name }),
  ...grantWish({ grant, folders }),
});

/** Two machines that share a code, and the person at this one: the sockets, the disk and the clock around the pure core. */
export class Pairing implements Service {
  readonly name = 'pairing';
  readonly #parts: PairingParts;
  readonly #changes = new Changes();
  readonly #parties: Parties;
  readonly #turns = new Turns();
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
      if (record.stage === 'trusted' && isKnown === undefined) this.#forget(record.id);
      else this.#parties.add(PairingParty.resume(record, clock));
    }
  }

  async stop(): Promise<void> {
    this.#unfollow();
    this.#ticks?.cancel();
    for (const turn of this.#turns.all) if (turn.role === 'joiner') turn.pairing.stop();
    this.#parties.stop();
  }

  /** Shows a code. @throws {LoopsyError} `pair_open` while one is. */
  async open({ invite = false, ...choices }: Started): Promise<OutputOf<'pair.start'>> {
    grantWish(choices);
    this.#refuseSecond(this.#host);
    const spake2 = await this.#loadSpake2();
    this.#refuseSecond(this.#host);
    const { own, clock, addresses } = this.#parts;
    const pairing = new HostPairing({
      spake2,
      own: own(),
      clock,
      isJoining: () => this.#isComparing,
      ...(invite ? { invitation: wishOf(choices) } : {}),
    });
    const { id } = this.#begin({ id: newTurnId(), role: 'host', pairing, choices, invited: invite });
    const { code = '', expiresInMs } = pairing.status;
    return { id, inviteCode: code, expiresAt: Math.round(clock.now() + expiresInMs), addresses: [...addresses()] };
  }

  /** Enters a code. What comes of it is told by `status`. @throws {LoopsyError} `pair_open`, `invalid_request`. */
  async join({ address, port, code: entered, ...choices }: ParsedInputOf<'pair.join'>): Promise<OutputOf<'pair.join'>> {
    grantWish(choices);
    this.#refuseSecond(this.#joiner);
    const code = readCode(entered);
    if (address === undefined) throw noAddress(code.kind);
    const spake2 = await this.#loadSpake2();
    this.#refuseSecond(this.#joiner);
    const { clock, own } = this.#parts;
    const place = { host: address, port: port ?? DEFAULT_PORT };
    const hosting = (): string | undefined => this.#host?.pairing.peerId;
    const metBefore = hosting();
    // Only who proves this node's code meanwhile joins it at the same time.
    const meets = (): string | undefined => (hosting() === metBefore ? undefined : hosting());
    const changed = (): void => this.#changes.note();
    const pairing = new Joining({ own: own(), clock, place, hosting: meets, changed }, { code, spake2 });
    const turn = this.#begin<JoinerTurn>({
      id: newTurnId(),
      role: 'joiner',
      pairing,
      choices,
      invited: pairing.isInvited,
    });
    void pairing.run().then((party) => {
      if (party !== undefined) {
        turn.driven = this.#parties.add(party);
        this.#host?.pairing.giveWay(party.facts.peer.machineId);
      }
      this.#changes.note();
    });
    return { id: turn.id, state: this.#view(turn, 'joiner').state };
  }

  /** The person's yes, on disk when it resolves, or no. @throws {LoopsyError} `conflict` before there is a number. */
  async confirm(input: ParsedInputOf<'pair.confirm'>): Promise<OutputOf<'pair.confirm'>> {
    const turn = this.#turns.find(input);
    if (!input.confirmed) return this.#cancel(turn, input.role);
    if (turn?.driven === undefined) {
      throw new LoopsyError('conflict', {
        message: 'there is no number to compare yet',
        hint: '`loopsy pair` on both machines comes first',
      });
    }
    const { driver } = turn.driven;
    const wish = this.#wish(driver.party, { ...turn.choices, ...input });
    await driver.say(wish, input.sas);
    const peer = peerOf(driver.party, this.#parts.trust, wish.name);
    const message =
      driver.party.stage === 'settled' ? `paired with ${peer.name}` : `your yes is kept; waiting for ${peer.name}`;
    return { success: true, message, peer };
  }

  /** Where a pairing stands; with `wait`, once that is another than `since`. */
  async status(input: ParsedInputOf<'pair.status'>, signal: AbortSignal): Promise<OutputOf<'pair.status'>> {
    const { wait = 0, since } = input;
    const { clock } = this.#parts;
    const ms = Math.min(wait, MAX_PAIR_WAIT_MS);
    await this.#changes.next(since ?? this.#changes.revision, { ms, clock, signal });
    const turn = this.#turns.find(input);
    const role = turn?.role ?? input.role ?? this.#parties.list()[0]?.driver.party.facts.role;
    const view = role === undefined ? IDLE : this.#view(turn, role);
    return {
      ...view,
      ...(turn === undefined ? {} : factsOf(turn)),
      revision: this.#changes.revision,
      ...(role === undefined ? {} : { role }),
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
    const party = this.#parties.hosted(attempt);
    if (party === undefined) throw new LoopsyError('pair_not_open');
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

  #begin<One extends Turn>(turn: One): One {
    this.#ticks ??= this.#parts.clock.every(TICK_MS, () => this.#tick());
    this.#turns.begin(turn);
    this.#changes.note();
    return turn;
  }

  get #host(): HostTurn | undefined {
    return this.#turns.host;
  }

  get #joiner(): JoinerTurn | undefined {
    return this.#turns.joiner;
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
  #refuseSecond(turn: Turn | undefined): void {
    if (turn === undefined) return;
    const { active, state } = this.#view(turn, turn.role);
    if (!active || state === 'waiting-peer') return;
    const at = turn.role === 'host' ? '' : ` with the machine at ${formatAddress(turn.pairing.place)}`;
    throw new LoopsyError('pair_open', { message: `a pairing${at} is open already` });
  }

  #cancel(turn: Turn | undefined, role: PairRole = 'host'): OutputOf<'pair.confirm'> {
    const driven = turn?.driven ?? (turn === undefined ? this.#resumed(role) : undefined);
    if (driven !== undefined) driven.driver.party.refuse();
    else if (turn === undefined) return { success: true, message: 'no pairing was open' };
    else this.#giveUp(turn);
    this.#changes.note();
    return { success: true, message: 'nothing was trusted' };
  }

  #giveUp(turn: Turn): void {
    const party = turn.pairing.cancel();
    if (party !== undefined) turn.driven = this.#parties.add(party);
  }

  #wish({ facts: { peer } }: PairingParty, { replace, ...choices }: Choices & { replace?: boolean | undefined }): Wish {
    if (replace !== true) return wishOf(choices);
    const clash = clashOf(this.#parts.trust, peer, choices.name);
    if (clash !== undefined) return { ...wishOf(choices), name: clash.name, replaces: clash.nodeId };
    throw new LoopsyError('invalid_request', { message: 'no other peer has that name', details: { field: 'replace' } });
  }

  #view(turn: Turn | undefined, role: PairRole): View {
    const { clock, trust } = this.#parts;
    const now = clock.now();
    const driven = turn?.driven ?? (turn === undefined ? this.#resumed(role) : undefined);
    if (driven !== undefined) {
      const [wanted, trouble] = [turn?.choices.name, driven.settling?.trouble];
      return partyView(driven.driver, { trust, now, wanted, trouble });
    }
    if (turn === undefined) return IDLE;
    return turn.role === 'host' ? hostView(turn.pairing, now) : joinerView(turn.pairing);
  }

  /** What goes on from an earlier start of this node. */
  #resumed(role: PairRole): Driven | undefined {
    const isOfTurn = (driven: Driven): boolean => this.#turns.all.some((turn) => turn.driven === driven);
    return this.#parties.list().find((one) => one.driver.party.facts.role === role && !isOfTurn(one));
  }

  /** Ends what is late, tells a new code or an end to those who wait, and forgets what was told. */
  #tick(): void {
    this.#turns.forget((turn) => this.#isTold(turn));
    this.#parties.prune();
  }

  #isTold(turn: Turn): boolean {
    // Replaced, or its trust was removed: nobody waits for it.
    if (turn.driven !== undefined && !this.#parties.has(turn.driven)) {
      this.#changes.note();
      return true;
    }
    if (this.#view(turn, turn.role).active) return false;
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
        this.#forget(party.facts.id);
      }
    }
  }

  /** A record that nobody needs: where it can't be deleted now, the next start tries again. */
  #forget(id: string): void {
    const { trust, log } = this.#parts;
    trust
      .carryOutPairing({ kind: 'forget', id })
      .catch((error: unknown) => log.warn('pairing not forgotten', { error: String(error) }));
  }

  async #news(party: PairingParty, isThere: () => boolean, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    if (isThere()) return;
    const wake = (end: () => void): (() => void) => party.onChange(() => isThere() && end());
    await pause(MAX_PAIR_WAIT_MS, { clock, signal, wake });
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
