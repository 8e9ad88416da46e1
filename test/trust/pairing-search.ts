import { PairingParty, type PairingEffect } from '../../src/trust/pairing-party.ts';
import { COMPARE, step, wordsToSend, type Decision, type DecisionEvent } from '../../src/trust/pairing-machine.ts';
import { otherRole, type Role, type Word } from '../../src/trust/pairing-crypto.ts';
import type { PairingFacts, PairingRecord } from '../../src/trust/pairing-record.ts';
import { FakeClock } from '../helpers/clock.ts';

/** One machine's disk, as the search uses it: it goes back and forth between images of it. */
export interface PairingDisk {
  /** Makes it as it was at an image; `''` is an empty one. */
  load(image: string): Promise<void>;
  image(): Promise<string>;
  carryOut(effect: PairingEffect): Promise<void>;
  record(): Promise<PairingRecord | undefined>;
  trusts(): Promise<boolean>;
}

/** What the search may do, and with which machine. */
export interface SearchOptions {
  readonly disks: Readonly<Record<Role, PairingDisk>>;
  readonly facts: Readonly<Record<Role, PairingFacts>>;
  readonly maxCrashes: number;
  /** How often a write may fail; each time it may have been done all the same. */
  readonly maxFaults: number;
  /** Whether time may run out before both trust. */
  readonly withLate: boolean;
  /** What leaves a machine: the real function, or a wrong one that the search has to find. */
  readonly words: (decision: Decision) => readonly Word[];
}

/** What the search found. */
export interface SearchResult {
  readonly states: number;
  readonly transitions: number;
  /** States in which both yes are stored and nobody is late: each was followed to its end. */
  readonly converging: number;
  /** The first state that breaks a promise, and which. */
  readonly fault: string | undefined;
}

interface SideState {
  /** `null`: nothing in memory. */
  readonly decision: Decision | null;
  readonly image: string;
  readonly trusts: boolean;
  /** The own yes was stored once. */
  readonly stored: boolean;
  /** It is on disk now, or the trust that came of it. */
  readonly kept: boolean;
  /** A no of the own person holds. */
  readonly refused: boolean;
  /** All that ever left this machine: any of it arrives late, often, or never. */
  readonly sent: readonly string[];
}

interface State {
  readonly joiner: SideState;
  readonly host: SideState;
  readonly crashes: number;
  readonly faults: number;
  readonly late: boolean;
}

const ROLES: readonly Role[] = ['joiner', 'host'];
const clock = new FakeClock();
const keyOf = (state: State): string => JSON.stringify(state);
const wordsOf = (message: string): Word[] => (message === '' ? [] : (message.split(',') as Word[]));

/** Goes through every state of the decision phase that messages, people, crashes and faults can lead to. */
export class PairingSearch {
  readonly #options: SearchOptions;
  #transitions = 0;

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  async run(): Promise<SearchResult> {
    const side: SideState = {
      decision: COMPARE,
      image: '',
      trusts: false,
      stored: false,
      kept: false,
      refused: false,
      sent: [],
    };
    const first: State = { joiner: side, host: side, crashes: 0, faults: 0, late: false };
    const seen = new Set([keyOf(first)]);
    const queue = [first];
    let converging = 0;
    for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
      const fault = this.#faultOf(state) ?? (await this.#faultOfEnd(state));
      if (fault !== undefined) return { states: seen.size, transitions: this.#transitions, converging, fault };
      if (isBound(state)) converging += 1;
      for (const next of await this.#nextOf(state)) {
        this.#transitions += 1;
        const key = keyOf(next);
        if (seen.has(key)) continue;
        seen.add(key);
        queue.push(next);
      }
    }
    return { states: seen.size, transitions: this.#transitions, converging, fault: undefined };
  }

  #faultOf(state: State): string | undefined {
    const { joiner, host } = state;
    const anyTrusts = joiner.trusts || host.trusts;
    if (anyTrusts && !(joiner.stored && host.stored)) return `trust without two stored yes: ${keyOf(state)}`;
    if (anyTrusts && (joiner.refused || host.refused)) return `trust after a no: ${keyOf(state)}`;
    const isPrinted = ROLES.some((role) => state[role].decision?.stage === 'settled');
    if (isPrinted && !(joiner.trusts && host.trusts)) return `"paired" while one does not trust: ${keyOf(state)}`;
    return undefined;
  }

  /** Once both yes are stored, and nothing more goes wrong, both end trusting, with nothing left on disk. */
  async #faultOfEnd(state: State): Promise<string | undefined> {
    if (!isBound(state)) return undefined;
    let now = state;
    for (let round = 0; round < 8; round += 1) {
      for (const role of ROLES) {
        now = await this.#settle(now, role);
        now = this.#hear(now, role, this.#words(now[otherRole(role)]));
        now = await this.#settle(now, role);
        if (this.#mayMeet(now, role)) now = await this.#settle(this.#event(now, role, 'contact'), role);
      }
    }
    for (const role of ROLES) {
      await this.#options.disks[role].load(now[role].image);
      const isDone = now[role].trusts && (await this.#options.disks[role].record()) === undefined;
      if (!isDone) return `no end: ${keyOf(state)} stops at ${keyOf(now)}`;
    }
    return undefined;
  }

  async #nextOf(state: State): Promise<State[]> {
    const next: State[] = [];
    for (const role of ROLES) {
      if (state.crashes < this.#options.maxCrashes)
        next.push({ ...(await this.#restart(state, role)), crashes: state.crashes + 1 });
      const { decision } = state[role];
      if (decision === null) continue;
      if (decision.stage === 'compare') next.push(...this.#events(state, role, ['say-yes', 'say-no']));
      if (this.#options.withLate && decision.stage !== 'trusted')
        next.push({ ...this.#event(state, role, 'late'), late: true });
      if (this.#mayMeet(state, role)) next.push(this.#event(state, role, 'contact'));
      next.push(this.#event(state, role, 'again'), this.#send(state, role));
      for (const message of state[otherRole(role)].sent) next.push(this.#hear(state, role, wordsOf(message)));
      if (decision.due !== undefined) next.push(...(await this.#carryOut(state, role)));
    }
    return next;
  }

  /** Done; done and the node dies before it knows; failed, and done all the same; failed. */
  async #carryOut(state: State, role: Role): Promise<State[]> {
    const written = await this.#write(state, role);
    const next = [this.#event(written, role, 'done')];
    if (state.crashes < this.#options.maxCrashes)
      next.push({ ...(await this.#restart(written, role)), crashes: state.crashes + 1 });
    if (state.faults < this.#options.maxFaults) {
      const faults = state.faults + 1;
      next.push({ ...this.#event(written, role, 'failed'), faults }, { ...this.#event(state, role, 'failed'), faults });
    }
    return next;
  }

  async #write(state: State, role: Role): Promise<State> {
    const disk = this.#options.disks[role];
    const effect = this.#party(state, role).effect;
    if (effect === undefined) return state;
    await disk.load(state[role].image);
    await disk.carryOut(effect);
    const stored = state[role].stored || effect.kind === 'store';
    const trusts = await disk.trusts();
    const kept = trusts || (await disk.record()) !== undefined;
    return { ...state, [role]: { ...state[role], image: await disk.image(), trusts, stored, kept } };
  }

  /** The node dies, and comes back with what is on disk. */
  async #restart(state: State, role: Role): Promise<State> {
    const disk = this.#options.disks[role];
    await disk.load(state[role].image);
    const record = await disk.record();
    const decision = record === undefined ? null : PairingParty.resume(record, clock).decision;
    return { ...state, [role]: { ...state[role], decision } };
  }

  async #settle(state: State, role: Role): Promise<State> {
    let now = this.#event(state, role, 'again');
    while (now[role].decision?.due !== undefined) now = this.#event(await this.#write(now, role), role, 'done');
    return now;
  }

  #party(state: State, role: Role): PairingParty {
    const { decision } = state[role];
    return new PairingParty(this.#options.facts[role], { clock, ...(decision === null ? {} : { decision }) });
  }

  #events(state: State, role: Role, events: readonly DecisionEvent[]): State[] {
    return events.map((event) => this.#event(state, role, event));
  }

  #event(state: State, role: Role, event: DecisionEvent): State {
    const side = state[role];
    if (side.decision === null) return state;
    const decision = step(side.decision, event);
    const refused = side.refused || (decision.stage === 'refused' && decision.said === 'no');
    return { ...state, [role]: { ...side, decision, refused } };
  }

  #hear(state: State, role: Role, words: readonly Word[]): State {
    let now = state;
    for (const word of words) now = this.#event(now, role, word);
    return now;
  }

  #words({ decision }: SideState): readonly Word[] {
    return decision === null ? [] : this.#options.words(decision);
  }

  #send(state: State, role: Role): State {
    const side = state[role];
    const message = this.#words(side).join(',');
    if (message === '' || side.sent.includes(message)) return state;
    return { ...state, [role]: { ...side, sent: [...side.sent, message].sort() } };
  }

  /** A link needs both pins. */
  #mayMeet(state: State, role: Role): boolean {
    return state[role].decision?.stage === 'trusted' && state.joiner.trusts && state.host.trusts;
  }
}

/** Both yes are on disk, and both nodes know that; nobody is late: nothing but the end is open. */
const isBound = (state: State): boolean =>
  !state.late &&
  ROLES.every((role) => {
    const { kept, refused, decision } = state[role];
    return kept && !refused && decision?.stage !== 'compare' && decision?.said !== 'no';
  });

/** A wrong rule: the yes leaves while it is being stored. */
export const tooEarly = (decision: Decision): readonly Word[] =>
  decision.due?.effect === 'store' ? ['yes'] : wordsToSend(decision);

/** A wrong rule: it says that it trusts while it is still writing that. */
export const tooProud = (decision: Decision): readonly Word[] =>
  decision.due?.effect === 'trust' ? ['yes', 'trusts'] : wordsToSend(decision);
