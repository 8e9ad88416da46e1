import { randomBytes } from 'node:crypto';

import type { Clock } from '../kernel/clock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { readCertificate } from './certificates.ts';
import type { Code } from './pairing-codes.ts';
import { equalBytes, pairingHash, passwordOf, RunKeys } from './pairing-crypto.ts';
import { makeHello, readHello, type OwnMachine, type PeerMachine } from './pairing-hello.ts';
import {
  blameOther,
  cancelledHere,
  checkVersion,
  MESSAGES,
  readFields,
  suspect,
  write,
  type Message,
} from './pairing-messages.ts';
import { PairingParty } from './pairing-party.ts';
import { factsOf } from './pairing-proof.ts';
import type { Place } from './pairing-record.ts';
import type { Password, RandomBytes, Share, Spake2 } from './spake2.ts';

/** What a joiner is made of: one entry of a code by a person, for one address. */
export interface JoinerOptions {
  readonly spake2: Spake2;
  readonly own: OwnMachine;
  readonly clock: Clock;
  readonly code: Code;
  /** Where it dials. */
  readonly place: Place;
  /** For tests. */
  readonly random?: RandomBytes;
}

/** What the driver knows when M4 is there. */
export interface ProvedContext {
  /** DER of the certificate that TLS showed on the connection that brought M4. */
  readonly tlsCertificate: Uint8Array;
  /** The machineId of who proved this node's own code (`HostPairing.peerId`), where there is one. */
  readonly hosting?: string | undefined;
}

interface Exchange {
  readonly keys: RunKeys;
  readonly attempt: Buffer;
  readonly nonce: Buffer;
  readonly helloJoiner: Buffer;
}

type State =
  | { readonly at: 'new'; readonly secret: Buffer }
  | { readonly at: 'initiated'; readonly password: Password; readonly share: Share }
  | ({ readonly at: 'asking' } & Exchange)
  | {
      readonly at: 'proved';
      readonly attempt: Buffer;
      readonly keys: RunKeys;
      readonly peer: PeerMachine;
      readonly sas: string;
    }
  | { readonly at: 'compare'; readonly party: PairingParty }
  | { readonly at: 'ended'; readonly failure: LoopsyError };

/**
 * The joiner of one pairing, up to the number on both screens. Each step takes the last reply and gives the next
 * request; a request that got no answer is sent again as it is. A code is never tried a second time by itself.
 */
export class JoinerPairing {
  readonly #options: Omit<JoinerOptions, 'code'>;
  readonly #random: RandomBytes;
  /** The machine that an invitation names. */
  readonly #inviter: string | undefined;
  #state: State;

  /** @throws {LoopsyError} `invalid_request` for an invitation of this machine itself. */
  constructor({ code, ...options }: JoinerOptions) {
    this.#inviter = code.kind === 'invitation' ? code.nodeId : undefined;
    if (this.#inviter === options.own.machineId) throw itself();
    this.#options = options;
    this.#random = options.random ?? randomBytes;
    this.#state = { at: 'new', secret: code.secret };
  }

  /** `asking`: nothing is proved yet. `proved` and `compare`: the other side knows the code. */
  get state(): 'asking' | 'proved' | 'compare' | 'ended' {
    const { at } = this.#state;
    return at === 'new' || at === 'initiated' ? 'asking' : at;
  }

  /** Why it ended. */
  get failure(): LoopsyError | undefined {
    return this.#state.at === 'ended' ? this.#state.failure : undefined;
  }

  /** There once both screens show the number. */
  get party(): PairingParty | undefined {
    return this.#state.at === 'compare' ? this.#state.party : undefined;
  }

  /** M1. Makes the masks first: 6 ms. */
  initiate(): Message {
    const { secret } = this.#expect('new');
    const { spake2 } = this.#options;
    const password = passwordOf(spake2, secret);
    const share = spake2.share(password, 'a');
    this.#state = { at: 'initiated', password, share };
    return { v: 1, pake: write(share.bytes) };
  }

  /** M2 → M3: the one proof of this entry of the code. @throws {LoopsyError} `peer_version`, `peer_handshake`. */
  prove(reply: unknown): Message {
    const { password, share } = this.#expect('initiated');
    return this.#orFail(() => {
      checkVersion(reply);
      const { attempt, pake } = readFields(reply, MESSAGES.initiated);
      const { spake2, own } = this.#options;
      const secret = spake2.agree(password, { side: 'a', own: share, theirs: pake });
      if (secret === undefined) throw suspect('point', 'what the host sent is no share');
      const keys = new RunKeys({ attempt, shareJoiner: share.bytes, shareHost: pake, secret, password });
      const nonce = Buffer.from(this.#random(32));
      const commit = pairingHash('commit', nonce);
      const helloJoiner = makeHello('joiner', keys.run, { own, extras: { commit } });
      this.#state = { at: 'asking', keys, attempt, nonce, helloJoiner };
      const box = write(keys.seal('box joiner', helloJoiner));
      return { attempt: write(attempt), confirm: write(keys.confirmJoiner), box };
    });
  }

  /**
   * M4 → M5: the host knows the code, and is who TLS says.
   * @throws {LoopsyError} `pair_wrong_code`, `peer_handshake` (`details.reason`), `invalid_request` for this machine
   *   itself, `pair_busy` where the other side joins this one at the same time and that pairing goes on.
   */
  reveal(reply: unknown, context: ProvedContext): Message {
    const exchange = this.#expect('asking');
    return this.#orFail(() => {
      const { keys, attempt, nonce } = exchange;
      const { confirm, box } = readFields(reply, MESSAGES.proved);
      if (!equalBytes(keys.confirmHost, confirm)) throw new LoopsyError('pair_wrong_code');
      const [peer, sas] = this.#meet(exchange, box);
      this.#checkPeer(peer, context);
      this.#state = { at: 'proved', keys, attempt, peer, sas };
      return { attempt: write(attempt), box: write(keys.seal('box reveal', nonce)) };
    });
  }

  /** M6: both screens show the number now. @throws {LoopsyError} `peer_handshake`. */
  compare(reply: unknown): PairingParty {
    const proved = this.#expect('proved');
    return this.#orFail(() => {
      readFields(reply, MESSAGES.revealed);
      return this.#enterCompare(proved);
    });
  }

  /** A request failed for good. */
  fail(failure: LoopsyError): void {
    if (this.#state.at !== 'ended' && this.#state.at !== 'compare') this.#state = { at: 'ended', failure };
  }

  /**
   * The person here gives up. @returns where the host may show a number by now: who tells it so.
   * @throws {LoopsyError} `conflict` after their yes.
   */
  cancel(): PairingParty | undefined {
    if (this.#state.at === 'proved') this.#enterCompare(this.#state);
    const { party } = this;
    party?.refuse();
    this.fail(cancelledHere());
    return party;
  }

  #enterCompare(proved: State & { readonly at: 'proved' }): PairingParty {
    const { clock, own, place } = this.#options;
    const met = { attempt: proved.attempt, ownId: own.machineId, place, startedAt: clock.now() };
    const party = new PairingParty(factsOf('joiner', proved, met), { clock, sas: proved.sas });
    this.#state = { at: 'compare', party };
    return party;
  }

  #meet({ keys, nonce, helloJoiner }: Exchange, box: Buffer): readonly [peer: PeerMachine, sas: string] {
    const helloHost = keys.open('box host', box);
    if (helloHost === undefined) throw suspect('box', 'what the host sealed can not be opened');
    const { peer, extras } = readHello('host', keys.run, helloHost);
    if (!equalBytes(extras.seen, pairingHash('seen', helloJoiner)))
      throw suspect('seen', 'the host saw another message than this machine sent');
    return [peer, keys.sas(helloJoiner, helloHost, nonce)];
  }

  #checkPeer(peer: PeerMachine, { tlsCertificate, hosting }: ProvedContext): void {
    const { own } = this.#options;
    const shown = readCertificate(tlsCertificate);
    const proved = readCertificate(peer.certificate);
    if (shown === undefined || proved?.spki.equals(shown.spki) !== true)
      throw suspect('tls', 'something between the two machines ends TLS: a proxy, or an attacker');
    if (this.#inviter !== undefined && this.#inviter !== peer.machineId)
      throw suspect('invitation', 'another machine answered than the one that made the invitation');
    if (peer.machineId === own.machineId) throw itself();
    // Where each joined the other at the same moment, both keep the same one of the two pairings.
    if (hosting === peer.machineId && own.machineId > peer.machineId) throw crossedAtHost();
  }

  #expect<At extends State['at']>(at: At): State & { readonly at: At } {
    const state = this.#state;
    if (state.at !== at) throw new TypeError(`the joiner is at "${state.at}", not at "${at}"`);
    // The cast: `at` tells the states apart.
    return state as State & { readonly at: At };
  }

  /** Any failure is the end: nothing is tried twice by itself. */
  #orFail<Result>(run: () => Result): Result {
    try {
      return run();
    } catch (error) {
      const failure = blameOther(error);
      this.#state = { at: 'ended', failure };
      throw failure;
    }
  }
}

/** Each joined the other at the same moment, and the pairing goes on in which this machine is the host. */
export const crossedAtHost = (): LoopsyError =>
  new LoopsyError('pair_busy', {
    message: 'both machines joined each other: the pairing goes on where the code is shown here',
    hint: 'compare the numbers there',
  });

const itself = (): LoopsyError => suspect('self', 'this is this machine itself');
