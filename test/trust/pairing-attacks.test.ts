import { randomBytes } from 'node:crypto';

import { beforeEach, describe, expect, it } from 'vitest';

import { pairingHash, passwordOf, RunKeys } from '../../src/trust/pairing-crypto.ts';
import { makeHello } from '../../src/trust/pairing-hello.ts';
import { HostPairing } from '../../src/trust/pairing-host.ts';
import { codeOf, errorOf, kai, mallory, maria, spake2, TwoMachines, wire, wrongCode } from './two-machines.ts';

let two = new TwoMachines();
beforeEach(() => {
  two = new TwoMachines();
});

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
/** A message whose fields can be changed. */
const fields = (message: unknown): Record<string, string> => ({ ...(message as Record<string, string>) });
const guess = async (from: string): Promise<string> =>
  errorOf(async () => two.prove(two.joiner({ code: wrongCode(two.host) }), from));
/** A whole honest pairing, after everything that was tried. */
const stillPairs = async (): Promise<boolean> => {
  const { host, joiner } = await two.pair(two.joiner(), '192.0.2.200');
  return host.sas === joiner.sas;
};

describe('who does not know the code', () => {
  it('guesses three times: the code is dead, a longer one takes its place, and the person is told from where', async () => {
    const first = two.host.status.code;
    expect(first).toMatch(/^[0-9]{6}$/);
    const late = two.joiner();
    const lateM3 = await two.ask(late, '192.0.2.77');
    for (const from of ['10.0.0.1', '10.0.0.2', '::ffff:10.0.0.3']) {
      expect(two.host.status.code).toBe(first);
      expect(await guess(from)).toBe('pair_wrong_code');
      two.clock.advance(500);
    }
    const { code, killedBy, state, expiresInMs } = two.host.status;
    expect(code).toMatch(/^[0-9]{9}$/);
    expect({ killedBy, state, expiresInMs }).toEqual({
      killedBy: ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
      state: 'open',
      expiresInMs: 299_500,
    });
    // Even the right code is too late now.
    expect(await errorOf(() => two.judge(lateM3, '192.0.2.77'))).toBe('pair_expired attempt');
    expect(await stillPairs()).toBe(true);
  });

  it('sends a fourth proof after the kill: 3,000 guesses at nine digits can not all be made in its life', async () => {
    for (const from of ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']) {
      expect(await guess(from)).toBe('pair_wrong_code');
      two.clock.advance(200);
    }
    expect(two.host.status.code).toMatch(/^[0-9]{9}$/);
    const long = two.host.status.code;
    expect(await guess('10.0.0.7')).toBe('pair_wrong_code');
    expect(two.host.status.code).toBe(long);
  });

  it('abandons 1,000 attempts: that is no guess, and takes no memory', async () => {
    const { code } = two.host.status;
    const pake = spake2.share(passwordOf(spake2, randomBytes(6)), 'a').bytes;
    let opened = 0;
    for (let count = 0; count < 1000; count += 1) {
      const from = `10.0.${count % 200}.1`;
      if ((await errorOf(() => two.initiate({ v: 1, pake: b64(pake) }, from))) === 'none') opened += 1;
      two.clock.advance(130);
    }
    expect(opened).toBeGreaterThan(900);
    expect(two.host.status).toMatchObject({ state: 'open', code, killedBy: [] });
    two.clock.advance(10_000);
    expect(await stillPairs()).toBe(true);
  });

  it('floods with bad points and bad bodies: refused, and no guess', async () => {
    const { code } = two.host.status;
    const good = spake2.share(passwordOf(spake2, randomBytes(6)), 'a').bytes;
    const bad = [
      ['identity', Buffer.from([0])],
      ['identity in 65 bytes', Buffer.alloc(65)],
      ['off-curve', Buffer.concat([good.subarray(0, 64), Buffer.from([(good[64] ?? 0) ^ 1])])],
      ['compressed', Buffer.concat([Buffer.from([2 + ((good[64] ?? 0) & 1)]), good.subarray(1, 33)])],
      ['hybrid', Buffer.concat([Buffer.from([6 + ((good[64] ?? 0) & 1)]), good.subarray(1)])],
    ] as const;
    for (const [, point] of bad) {
      expect(await errorOf(() => two.initiate({ v: 1, pake: b64(point) }, '10.0.0.1'))).toMatch(/^invalid_request/);
      two.clock.advance(500);
    }
    for (const v of [0, 2, '1', undefined]) {
      expect(await errorOf(() => two.initiate({ v, pake: b64(good) }, '10.0.0.1'))).toBe('peer_version');
      two.clock.advance(500);
    }
    for (const body of [
      { v: 1 },
      { v: 1, pake: b64(good), more: 1 },
      { v: 1, pake: `${b64(good)}=` },
      { v: 1, pake: 7 },
    ]) {
      expect(await errorOf(() => two.initiate(body, '10.0.0.1'))).toBe('invalid_request');
      two.clock.advance(500);
    }
    for (const body of [undefined, null, 'x', [], { v: [1] }]) {
      expect(await errorOf(() => two.initiate(body, '10.0.0.1'))).toBe('peer_version');
      two.clock.advance(500);
    }
    expect(two.host.status).toMatchObject({ code, killedBy: [] });
    expect(await stillPairs()).toBe(true);
  });

  it('sends w·M or w·N of its own guess: refused, and only a right guess could tell the difference', async () => {
    const { wM, wN } = passwordOf(spake2, codeOf(two.host).secret);
    const prove = async (point: Uint8Array, from: string): Promise<string> => {
      const { attempt } = fields(await two.initiate({ v: 1, pake: b64(point) }, from));
      return errorOf(() => two.judge({ attempt, confirm: b64(randomBytes(32)), box: '' }, from));
    };
    expect(await prove(wM.toBytes(false), '10.0.0.1')).toBe('invalid_request point');
    two.clock.advance(1000);
    expect(await prove(wN.toBytes(false), '10.0.0.2')).toBe('pair_wrong_code');
    two.clock.advance(1000);
    const other = passwordOf(spake2, wrongCode(two.host).secret);
    expect(await prove(other.wM.toBytes(false), '10.0.0.3')).toBe('pair_wrong_code');
  });

  it('sends the host’s share back, in either direction', async () => {
    const m2 = fields(await two.initiate(two.joiner().initiate(), '10.0.0.1'));
    const echoed = fields(await two.initiate({ v: 1, pake: m2['pake'] }, '10.0.0.2'));
    const proof = { attempt: echoed['attempt'], confirm: b64(randomBytes(32)), box: '' };
    expect(await errorOf(() => two.judge(proof, '10.0.0.2'))).toBe('pair_wrong_code');

    // As a host that knows nothing: it mirrors the joiner's share, and then its proof.
    const joiner = two.joiner();
    const { pake } = fields(joiner.initiate());
    const m3 = fields(joiner.prove({ v: 1, attempt: b64(randomBytes(16)), pake }));
    const mirrored = { confirm: m3['confirm'], box: m3['box'] };
    expect(await errorOf(() => joiner.reveal(mirrored, { tlsCertificate: mallory.certificate }))).toBe(
      'pair_wrong_code',
    );
    expect(joiner.state).toBe('ended');
  });

  it('poses as the host: one guess for each entry of the code, and the joiner hears what it may be', async () => {
    const posing = new HostPairing({ spake2, own: mallory, clock: two.clock, below: () => 111_111 });
    const joiner = two.joiner({ code: { kind: 'digits', secret: Buffer.from('482913') } });
    const m2 = await posing.initiate(wire(joiner.initiate()), '10.0.0.1');
    const m3 = wire(joiner.prove(wire(m2)));
    expect(await errorOf(() => posing.prove(m3, '10.0.0.1'))).toBe('pair_wrong_code');
    const m4 = { confirm: b64(randomBytes(32)), box: b64(randomBytes(300)) };
    expect(await errorOf(() => joiner.reveal(m4, { tlsCertificate: mallory.certificate }))).toBe('pair_wrong_code');
    expect(() => joiner.initiate()).toThrow(TypeError);
    expect(() => joiner.prove(m2)).toThrow(TypeError);
  });

  it('replays yesterday’s M3, and tokens of another run', async () => {
    const m3 = await two.ask(two.joiner());
    await two.judge(m3, '192.0.2.9');
    const later = new TwoMachines({ below: () => Number(codeOf(new TwoMachines().host).secret.toString()) });
    expect(await errorOf(() => later.host.prove(m3, '192.0.2.9'))).toBe('pair_expired attempt');
    const m2 = fields(await later.host.initiate(wire(later.joiner().initiate()), '10.0.0.1'));
    expect(await errorOf(() => later.host.prove({ ...fields(m3), attempt: m2['attempt'] }, '10.0.0.1'))).toBe(
      'pair_wrong_code',
    );
    later.clock.advance(10_000);
    const [old, fresh] = [await new TwoMachines().pair(), await later.pair()];
    old.joiner.confirm({});
    old.joiner.done();
    const { tokens } = old.joiner.request();
    const bytes = (Array.isArray(tokens) ? tokens : []).map((token) => Buffer.from(String(token), 'base64url'));
    expect(bytes.length).toBe(1);
    expect(old.host.hear(bytes)).toEqual(['yes']);
    expect(fresh.host.hear(bytes)).toEqual([]);
    expect(fresh.host.decision.heard).toEqual([]);
  });
});

describe('who knows the code', () => {
  it('proves twice: the first proof spends the code', async () => {
    const [first, second] = [two.joiner(), two.joiner({ own: mallory })];
    const secondM3 = await two.ask(second, '10.0.0.2');
    two.clock.advance(500);
    const m3 = await two.ask(first);
    const m4 = await two.judge(m3, '192.0.2.9');
    two.clock.advance(1000);
    expect(await errorOf(() => two.judge(secondM3, '10.0.0.2'))).toBe('pair_busy');
    expect(
      await errorOf(() =>
        two.initiate(wire(two.joiner({ code: { kind: 'digits', secret: Buffer.from('1') } }).initiate()), '10.0.0.3'),
      ),
    ).toBe('pair_busy');
    // The same bytes again get the same answer, and nothing more.
    expect(await two.judge(m3, '192.0.2.9')).toEqual(m4);
    const altered = { ...fields(m3), box: b64(randomBytes(40)) };
    expect(await errorOf(() => two.judge(altered, '192.0.2.9'))).toBe('pair_busy');
    expect(two.host.status.state).toBe('proved');
  });

  it('retries until the SAS matches: there is no second draw under one code', async () => {
    const joiner = two.joiner({ own: mallory });
    const m4 = await two.prove(joiner);
    const m5 = fields(joiner.reveal(m4, { tlsCertificate: kai.certificate }));
    expect(two.host.reveal(m5)).toEqual({ ok: true });
    const { sas } = two.host.party ?? {};
    // Another reveal, another proof, another attempt: all refused, and the number stays.
    expect(await errorOf(() => two.host.reveal({ ...m5, box: b64(randomBytes(48)) }))).toBe('pair_busy');
    expect(two.host.reveal(m5)).toEqual({ ok: true });
    expect(await errorOf(() => two.initiate({ v: 1, pake: '' }, '10.0.0.1'))).toBe('pair_busy');
    expect(two.host.party?.sas).toBe(sas);
  });

  it('reveals another nonce: the pairing has failed, and a new code is needed', async () => {
    // A joiner of its own making: it seals what it likes, but what it fixed came before the host's nonce.
    const password = passwordOf(spake2, codeOf(two.host).secret);
    const own = spake2.share(password, 'a');
    const m2 = fields(await two.initiate({ v: 1, pake: b64(own.bytes) }));
    const [attempt, shareHost] = [
      Buffer.from(m2['attempt'] ?? '', 'base64url'),
      Buffer.from(m2['pake'] ?? '', 'base64url'),
    ];
    const secret = spake2.agree(password, { side: 'a', own, theirs: shareHost }) ?? Buffer.alloc(0);
    const keys = new RunKeys({ attempt, shareJoiner: own.bytes, shareHost, secret, password });
    const commit = pairingHash('commit', Buffer.alloc(32, 1));
    const hello = makeHello('joiner', keys.run, { own: mallory, extras: { commit } });
    const box = b64(keys.seal('box joiner', hello));
    const m4 = fields(await two.judge({ attempt: m2['attempt'], confirm: b64(keys.confirmJoiner), box }));
    expect(keys.open('box host', Buffer.from(m4['box'] ?? '', 'base64url'))).toBeDefined();
    const m5 = { attempt: m2['attempt'], box: b64(keys.seal('box reveal', Buffer.alloc(32, 2))) };
    expect(await errorOf(() => two.host.reveal(m5))).toBe('invalid_request reveal');
    expect(two.host.status).toMatchObject({ state: 'ended' });
    expect(await errorOf(() => two.host.reveal(m5))).toBe('pair_not_open');
    expect(await errorOf(() => two.initiate({}, '10.0.0.1'))).toBe('pair_busy');
    expect(two.host.party).toBeUndefined();
  });

  it('claims another machine’s certificate: the code is spent, and nothing is trusted', async () => {
    const joiner = two.joiner({ own: { ...mallory, certificate: maria.certificate } });
    expect(await errorOf(async () => two.prove(joiner))).toBe('invalid_request signature');
    expect(two.host.status.state).toBe('ended');
    expect(two.host.status.failure?.message).toContain('does not hold the key');
    expect(await errorOf(async () => two.initiate({}, '10.0.0.1'))).toBe('pair_busy');

    two = new TwoMachines({ own: { ...mallory, certificate: kai.certificate } });
    const honest = two.joiner();
    const m4 = await two.prove(honest);
    const context = { tlsCertificate: kai.certificate };
    expect(await errorOf(() => honest.reveal(m4, context))).toBe('peer_handshake signature');
  });

  it('ends TLS in between: the certificate of the connection is not the one that is proved inside', async () => {
    const joiner = two.joiner();
    const m4 = await two.prove(joiner);
    expect(await errorOf(() => joiner.reveal(m4, { tlsCertificate: mallory.certificate }))).toBe('peer_handshake tls');
    expect(joiner.failure?.message).toContain('ends TLS');
    two.clock.advance(10_000);
    expect(two.host.status).toMatchObject({ state: 'ended' });
  });

  it('changes a name after the SAS: what was compared is what is kept', async () => {
    const joiner = two.joiner();
    const m3 = await two.ask(joiner);
    const m4 = wire(await two.judge(m3, '192.0.2.9'));
    const m5 = wire(joiner.reveal(m4, { tlsCertificate: kai.certificate }));
    two.host.reveal(m5);
    const renamed = two.joiner({
      own: { ...maria, name: 'admin' },
      code: { kind: 'digits', secret: Buffer.from('1') },
    });
    renamed.initiate();
    expect(await errorOf(() => two.judge({ ...fields(m3), box: fields(m4)['box'] }, '192.0.2.9'))).toBe('pair_busy');
    expect(two.host.party?.facts.peer.name).toBe('maria');
    two.host.party?.confirm({});
    expect(two.host.party?.effect).toMatchObject({ kind: 'store', record: { peer: { name: 'maria' } } });
  });

  it('joins first, with the right code: the joiner hears so, and the host shows a number without a partner', async () => {
    const first = two.joiner({ own: mallory });
    const code = codeOf(two.host);
    await two.pair(first, '10.0.0.1');
    two.clock.advance(1000);
    expect(await errorOf(async () => two.prove(two.joiner({ code })))).toBe('pair_busy');
    expect(two.host.party?.facts.peer.machineId).toBe(mallory.machineId);
  });

  it('reflects an invitation: it leads to one machine, and no other may answer', async () => {
    two = new TwoMachines({ invitation: {} });
    const code = codeOf(two.host);
    expect(code.kind).toBe('invitation');
    expect(await errorOf(() => two.joiner({ own: kai, code }))).toBe('invalid_request self');
    const joiner = two.joiner({
      code: { ...code, ...(code.kind === 'invitation' ? { nodeId: mallory.machineId } : {}) },
    });
    const m4 = await two.prove(joiner);
    const context = { tlsCertificate: kai.certificate };
    expect(await errorOf(() => joiner.reveal(m4, context))).toBe('peer_handshake invitation');
  });

  it('guesses at an invitation: nothing to guess, and nothing to kill', async () => {
    two = new TwoMachines({ invitation: {} });
    const { code } = two.host.status;
    for (let count = 0; count < 5; count += 1) {
      expect(await guess(`10.0.0.${count}`)).toBe('pair_wrong_code');
      two.clock.advance(200);
    }
    expect(two.host.status).toMatchObject({ state: 'open', code, killedBy: [] });
    const { host } = await two.pair(two.joiner(), '192.0.2.9');
    expect(host.saidYes).toBe(true);
  });
});
