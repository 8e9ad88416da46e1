import { LoopsyError } from '../../src/protocol/errors.ts';
import { parseCode, type Code } from '../../src/trust/pairing-codes.ts';
import type { OwnMachine } from '../../src/trust/pairing-hello.ts';
import { HostPairing, type HostOptions } from '../../src/trust/pairing-host.ts';
import { JoinerPairing, type JoinerOptions } from '../../src/trust/pairing-joiner.ts';
import type { PairingEffect, PairingParty } from '../../src/trust/pairing-party.ts';
import { Spake2 } from '../../src/trust/spake2.ts';
import { FakeClock } from '../helpers/clock.ts';
import { makeMachine } from '../helpers/trust-desk.ts';

/** A machine that can pair. */
const makeOwn = async (name: string): Promise<OwnMachine> => {
  const { certificate, key, id } = await makeMachine();
  return { certificate, privateKey: key, machineId: id, name, port: 19532, version: '2.0.0', features: ['execute'] };
};

export const spake2 = await Spake2.load();
export const kai = await makeOwn('kai');
export const maria = await makeOwn('maria');
export const mallory = await makeOwn('mallory');

/** The code that a host shows. */
export const codeOf = (host: HostPairing): Code => {
  const code = parseCode(host.status.code ?? '');
  if (code === undefined) throw new Error('no code is shown');
  return code;
};

/** The same kind of code, but another one. */
export const wrongCode = (host: HostPairing): Code => {
  const code = codeOf(host);
  const text = code.secret.toString();
  const other = `${text.startsWith('1') ? '2' : '1'}${text.slice(1)}`;
  return code.kind === 'digits'
    ? { kind: 'digits', secret: Buffer.from(other) }
    : { ...code, secret: Buffer.alloc(16, 7) };
};

/** Two machines, their clock, and what an honest pairing does. */
export class TwoMachines {
  readonly clock = new FakeClock();
  readonly host: HostPairing;

  constructor(options: Partial<HostOptions> = {}) {
    this.host = new HostPairing({ spake2, own: kai, clock: this.clock, ...options });
  }

  joiner(options: Partial<JoinerOptions> = {}): JoinerPairing {
    const place = { host: '192.0.2.1', port: 19532 };
    const code = options.code ?? codeOf(this.host);
    return new JoinerPairing({ spake2, own: maria, clock: this.clock, place, ...options, code });
  }

  /** Lets time pass until it is done: a host lets those wait who come at the same time. */
  async passing<Result>(work: Promise<Result>): Promise<Result> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    work.then(done, done);
    for (;;) {
      await new Promise(setImmediate);
      if (isDone) return work;
      this.clock.advance(10);
    }
  }

  /** M1 → M2. */
  async initiate(m1: unknown, from = '192.0.2.9'): Promise<unknown> {
    return wire(await this.passing(this.host.initiate(wire(m1), from)));
  }

  /** M3 → M4. */
  async judge(m3: unknown, from = '192.0.2.9'): Promise<unknown> {
    return wire(await this.passing(this.host.prove(wire(m3), from)));
  }

  /** M1–M3. @returns M3. */
  async ask(joiner: JoinerPairing, from?: string): Promise<unknown> {
    return wire(joiner.prove(await this.initiate(joiner.initiate(), from)));
  }

  /** M1–M4. @returns M4. */
  async prove(joiner: JoinerPairing, from?: string): Promise<unknown> {
    return this.judge(await this.ask(joiner, from), from);
  }

  /** M1–M6. @returns both parties. */
  async pair(joiner = this.joiner(), from?: string): Promise<{ host: PairingParty; joiner: PairingParty }> {
    const m4 = await this.prove(joiner, from);
    const m5 = wire(joiner.reveal(m4, { tlsCertificate: kai.certificate }));
    const party = joiner.compare(wire(this.host.reveal(m5)));
    if (this.host.party === undefined) throw new Error('the host has no party');
    return { host: this.host.party, joiner: party };
  }
}

/** What arrives of what was sent. */
export const wire = (message: unknown): unknown =>
  message === undefined ? undefined : JSON.parse(JSON.stringify(message));

/** The name of the error that a step ends with; `none` where it ends well. */
export const errorOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
    return 'none';
  } catch (error) {
    if (!(error instanceof LoopsyError)) throw error;
    const { reason } = error.details ?? {};
    return typeof reason === 'string' ? `${error.error} ${reason}` : error.error;
  }
};

/** Carries out all effects as a driver does. @returns what was done. */
export const carryOut = (party: PairingParty, seen: PairingEffect[] = []): PairingEffect['kind'][] => {
  const done: PairingEffect['kind'][] = [];
  for (let effect = party.effect; effect !== undefined; effect = party.effect) {
    done.push(effect.kind);
    seen.push(effect);
    party.done();
  }
  return done;
};
