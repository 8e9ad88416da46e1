import { randomBytes } from 'node:crypto';

import { beforeEach, describe, expect, it } from 'vitest';

import { HostPairing } from '../../src/trust/pairing-host.ts';
import { JoinerPairing } from '../../src/trust/pairing-joiner.ts';
import { Spake2 } from '../../src/trust/spake2.ts';
import { TwoMachines, codeOf, errorOf, kai, mallory, maria, spake2, wire, wrongCode } from './two-machines.ts';

const RUNS = 100;
const PARTS = process.env['LOOPSY_LONG'] === '1' ? Array.from({ length: 10 }, (_, at) => at + 1) : [1];

let two = new TwoMachines();
beforeEach(() => {
  two = new TwoMachines();
});

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

describe('who knows the code', () => {
  // Masks are made once for the one code, as an attacker would.
  const cached = async (): Promise<Spake2> => {
    const one = await Spake2.load();
    const plain = one.password.bind(one);
    const known = new Map<string, ReturnType<typeof plain>>();
    one.password = (source) => {
      const key = b64(source);
      const password = known.get(key) ?? plain(source);
      known.set(key, password);
      return password;
    };
    return one;
  };

  it.each(PARTS)(
    'sits between with the code: the numbers differ in 100 runs (1,000 in test:long; part %i)',
    async () => {
      const [curve, clock] = [await cached(), two.clock];
      const below = (): number => 482_913;
      const place = { host: '192.0.2.1', port: 19532 };
      let equal = 0;
      for (let count = 0; count < RUNS; count += 1) {
        const host = new HostPairing({ spake2: curve, own: kai, clock, below });
        const between = new HostPairing({ spake2: curve, own: mallory, clock, below });
        const [victim, attacker] = [maria, mallory].map(
          (own) => new JoinerPairing({ spake2: curve, own, clock, code: codeOf(host), place }),
        );
        if (victim === undefined || attacker === undefined) throw new Error('two joiners');
        const through = async (joiner: JoinerPairing, to: HostPairing, tlsCertificate: Buffer): Promise<string> => {
          const m3 = joiner.prove(await to.initiate(joiner.initiate(), '10.0.0.1'));
          const m5 = joiner.reveal(await to.prove(m3, '10.0.0.1'), { tlsCertificate });
          return joiner.compare(to.reveal(m5)).sas ?? '';
        };
        const left = await through(victim, between, mallory.certificate);
        const right = await through(attacker, host, kai.certificate);
        expect(left).toBe(between.party?.sas);
        expect(right).toBe(host.party?.sas);
        if (left === right) equal += 1;
      }
      // One in a million for each run: two in 100 would be once in two hundred million.
      expect(equal).toBeLessThanOrEqual(1);
    },
  );
});

describe('special cases', () => {
  it('the own address: `self`, on both sides', async () => {
    const joiner = two.joiner({ own: kai });
    expect(await errorOf(async () => two.prove(joiner))).toBe('invalid_request self');
  });

  it('who proved the code is known by address from then until it is over, and nobody else is', async () => {
    const joiner = two.joiner();
    const guesser = two.joiner({ code: wrongCode(two.host) });
    expect(await errorOf(() => two.prove(guesser, '192.0.2.66'))).toBe('pair_wrong_code');
    expect(two.host.address).toBeUndefined();
    const m4 = await two.prove(joiner, '::ffff:192.0.2.9');
    expect(two.host.address).toBe('::ffff:192.0.2.9');
    two.host.reveal(wire(joiner.reveal(m4, { tlsCertificate: kai.certificate })));
    expect(two.host.address).toBe('::ffff:192.0.2.9');
    two.host.cancel();
    expect(two.host.address).toBeUndefined();
  });

  it('both join each other: the second proof gets `pair_busy`, and costs neither code nor guess', async () => {
    const joined = two.joiner({ own: kai, code: { kind: 'digits', secret: Buffer.from('1') } });
    let joining = true;
    two = new TwoMachines({ isJoining: () => joining });
    const m3 = await two.ask(two.joiner());
    expect(await errorOf(() => two.judge(m3, '192.0.2.9'))).toBe('pair_busy');
    expect(joined.state).toBe('asking');
    joining = false;
    expect(await errorOf(() => two.judge(m3, '192.0.2.9'))).toBe('none');
  });

  it('both join each other at the same moment: of the two pairings both keep the same one', async () => {
    const clock = two.clock;
    const hosts = new Map([kai, maria].map((own) => [own, new HostPairing({ spake2, own, clock })]));
    const results: string[] = [];
    const begun = await Promise.all(
      (
        [
          [kai, maria],
          [maria, kai],
        ] as const
      ).map(async ([own, other]) => {
        const host = hosts.get(other);
        if (host === undefined) throw new Error('no host');
        const joiner = new JoinerPairing({
          spake2,
          own,
          clock,
          code: codeOf(host),
          place: { host: '192.0.2.1', port: 1 },
        });
        const m3 = joiner.prove(await host.initiate(joiner.initiate(), '192.0.2.9'));
        return { own, other, joiner, m4: await host.prove(m3, '192.0.2.9') };
      }),
    );
    for (const { own, other, joiner, m4 } of begun) {
      const hosting = hosts.get(own)?.peerId;
      expect(hosting).toBe(other.machineId);
      results.push(await errorOf(() => joiner.reveal(m4, { tlsCertificate: other.certificate, hosting })));
    }
    expect(results.sort()).toEqual(['none', 'pair_busy']);
    const kept = begun.find(({ joiner }) => joiner.state === 'proved');
    expect(kept?.own.machineId).toBe([kai.machineId, maria.machineId].sort()[0]);
  });

  it('another version: both sides say so', async () => {
    const joiner = two.joiner();
    joiner.initiate();
    expect(await errorOf(() => joiner.prove({ v: 2, attempt: '', pake: '' }))).toBe('peer_version');
    expect(await errorOf(async () => two.initiate({ v: 2, pake: '' }, '10.0.0.1'))).toBe('peer_version');
  });

  it('steps in another order, and of no pairing: refused without a change', async () => {
    const reveal = { attempt: b64(randomBytes(16)), box: b64(randomBytes(48)) };
    expect(await errorOf(() => two.host.reveal(reveal))).toBe('pair_not_open');
    const prove = { attempt: reveal.attempt, confirm: b64(randomBytes(32)), box: reveal.box };
    expect(await errorOf(() => two.judge(prove, '10.0.0.1'))).toBe('pair_expired attempt');
    expect(two.host.status.state).toBe('open');
    const m4 = await two.prove(two.joiner());
    expect(m4).toBeDefined();
    expect(await errorOf(() => two.host.reveal(reveal))).toBe('pair_not_open');
    expect(two.host.status.state).toBe('proved');
  });

  it('a proof that is sent again while it waits for its turn: told to wait, and the code is not lost', async () => {
    const guesser = two.joiner({ code: wrongCode(two.host) });
    const [guess, m3] = [await two.ask(guesser, '10.0.0.1'), await two.ask(two.joiner())];
    expect(await errorOf(async () => two.host.prove(guess, '10.0.0.1'))).toBe('pair_wrong_code');
    const first = two.host.prove(m3, '192.0.2.9');
    expect(await errorOf(async () => two.host.prove(m3, '192.0.2.9'))).toBe('rate_limited');
    const m4 = await two.passing(first);
    expect(await two.host.prove(m3, '192.0.2.9')).toEqual(m4);
  });

  it('a node that has no pairing open, or cancelled it', async () => {
    two.host.cancel();
    expect(two.host.status.failure?.message).toBe('the pairing was cancelled: nothing was trusted');
    expect(await errorOf(async () => two.initiate({}, '10.0.0.1'))).toBe('pair_not_open');
    expect(two.host.status).toMatchObject({ state: 'ended', expiresInMs: 0 });
  });
});
