import type { Clock } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Code, parseCode } from '../../trust/pairing-codes.ts';
import type { OwnMachine } from '../../trust/pairing-hello.ts';
import { crossedAtHost, JoinerPairing } from '../../trust/pairing-joiner.ts';
import type { PairingParty } from '../../trust/pairing-party.ts';
import type { Place } from '../../trust/pairing-record.ts';
import type { Spake2 } from '../../trust/spake2.ts';
import { formatAddress } from '../peers/dial.ts';
import { askHost, notMeant } from './ask.ts';

/** What joining needs. */
export interface JoiningParts {
  readonly own: OwnMachine;
  readonly clock: Clock;
  readonly place: Place;
  /** The machineId of who proved this node's own code, where one did. */
  readonly hosting: () => string | undefined;
  /** Something that a person may see has changed. */
  readonly changed: () => void;
}

const itselfAt = (place: Place): LoopsyError =>
  new LoopsyError('invalid_request', {
    message: `${formatAddress(place)} is this machine itself`,
    hint: 'give the address of the machine that shows the code',
    details: { field: 'address', reason: 'self' },
  });

/** Reads what a person entered. @throws {LoopsyError} `invalid_request` where it is no code. */
export const readCode = (entered: string): Code => {
  const code = parseCode(entered);
  if (code !== undefined) return code;
  throw new LoopsyError('invalid_request', {
    message: 'this is no code: 6 or 9 digits, or an invitation that begins with "loopsy-"',
    details: { field: 'code' },
  });
};

/** One entry of a code by a person: asks the host, once, until both screens show the number. */
export class Joining {
  readonly pairing: JoinerPairing;
  readonly #parts: JoiningParts;
  readonly #stopped = new AbortController();
  readonly #inviter: string | undefined;
  #trouble: string | undefined;

  /** @throws {LoopsyError} `invalid_request` for an invitation of this machine itself. */
  constructor(parts: JoiningParts, { code, spake2 }: { code: Code; spake2: Spake2 }) {
    this.#parts = parts;
    // The secret itself is the pairing's alone, which drops it.
    this.#inviter = code.kind === 'invitation' ? code.nodeId : undefined;
    this.pairing = new JoinerPairing({ ...parts, code, spake2 });
  }

  get isInvited(): boolean {
    return this.#inviter !== undefined;
  }

  get place(): Place {
    return this.#parts.place;
  }

  /** Why nothing goes on at the moment. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** The person gives up. @returns what tells the host so, where that may show a number by now. */
  cancel(): PairingParty | undefined {
    this.stop();
    return this.pairing.cancel();
  }

  /** Asks no more. */
  stop(): void {
    this.#stopped.abort();
  }

  /** M1–M6. @returns undefined where it failed: the pairing says why. Never rejects. */
  async run(): Promise<PairingParty | undefined> {
    const { pairing } = this;
    try {
      const initiated = await this.#ask('pair.initiate', pairing.initiate());
      const proved = await this.#ask('pair.prove', pairing.prove(initiated.body));
      const context = { tlsCertificate: proved.certificate, hosting: this.#parts.hosting() };
      const revealed = await this.#ask('pair.reveal', pairing.reveal(proved.body, context));
      return pairing.compare(revealed.body);
    } catch (error) {
      pairing.fail(this.#failureOf(error));
      return undefined;
    }
  }

  /** A host that is busy with this machine itself, as the joiner that it is there, is no stranger's victim. */
  #failureOf(error: unknown): LoopsyError {
    if (!(error instanceof LoopsyError)) return new LoopsyError('internal', { cause: error });
    return error.error === 'pair_busy' && this.#parts.hosting() !== undefined ? crossedAtHost() : error;
  }

  #ask(step: 'pair.initiate' | 'pair.prove' | 'pair.reveal', message: Parameters<typeof askHost>[1][1]) {
    const { clock, place } = this.#parts;
    const refuse = (machineId: string) => this.#refuse(machineId);
    const onTrouble = (text: string | undefined): void => this.#noteTrouble(text);
    return askHost(place, [step, message], { clock, signal: this.#stopped.signal, refuse, onTrouble });
  }

  #refuse(machineId: string): LoopsyError | undefined {
    const { place, own } = this.#parts;
    if (machineId === own.machineId) return itselfAt(place);
    // An invitation names the machine that made it, from the first byte.
    return this.#inviter !== undefined && this.#inviter !== machineId ? notMeant(place) : undefined;
  }

  #noteTrouble(text: string | undefined): void {
    if (text === this.#trouble) return;
    this.#trouble = text;
    this.#parts.changed();
  }
}
