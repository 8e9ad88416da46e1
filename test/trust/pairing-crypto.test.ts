import { createCipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import {
  pairingHash,
  passwordOf,
  RunKeys,
  tokenOf,
  wordOf,
  type Role,
  type Word,
} from '../../src/trust/pairing-crypto.ts';
import { Spake2 } from '../../src/trust/spake2.ts';

// The protocol once more, written down from its text, for one run with fixed secrets.
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const lv = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts.flatMap((part) => [u64(part.length), part]));
const P = (text: string): Buffer => Buffer.from(`loopsy pair 1 ${text}`);
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const H = (label: string, ...fields: Uint8Array[]): Buffer => sha256(lv(P(label), ...fields));
const hkdf = (ikm: Uint8Array, salt: Uint8Array, { info, size }: { info: Uint8Array; size: number }): Buffer =>
  Buffer.from(hkdfSync('sha256', ikm, salt, info, size));
const NONE = Buffer.alloc(0);

const sourceOf = (scalar: number): Buffer => {
  const bytes = Buffer.alloc(48);
  bytes.writeUInt32BE(scalar, 44);
  return bytes;
};
const CODE = Buffer.from('482913');
const attempt = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

const [joiner, host] = [await Spake2.load(() => sourceOf(1_000_003)), await Spake2.load(() => sourceOf(2_000_003))];
const password = passwordOf(joiner, CODE);
const shares = { joiner: joiner.share(password, 'a'), host: host.share(password, 'b') };
const [shareJoiner, shareHost] = [shares.joiner.bytes, shares.host.bytes];
const secret = joiner.agree(password, { side: 'a', own: shares.joiner, theirs: shareHost }) ?? NONE;
const newKeys = (): RunKeys => new RunKeys({ attempt, shareJoiner, shareHost, secret, password });
const keys = newKeys();

const run = H('run', attempt, shareJoiner, shareHost);
const tt = lv(P('joiner'), P('host'), shareJoiner, shareHost, secret, password.w);
const key = sha256(tt);
const [ke, ka] = [key.subarray(0, 16), key.subarray(16)];
const D = (label: string): Buffer => hkdf(ke, run, { info: P(label), size: 32 });

describe('the arithmetic of a pairing', () => {
  it('is that of the specification', () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const source = Buffer.from(hkdfSync('sha512', CODE, '', P('w'), 48)).toString('hex');
    expect(password.w.toString('hex')).toBe((BigInt(`0x${source}`) % order).toString(16).padStart(64, '0'));
    expect(keys.run).toEqual(run);
    const confirm = hkdf(ka, NONE, { info: Buffer.concat([Buffer.from('ConfirmationKeys'), run]), size: 32 });
    const mac = (part: Uint8Array): Buffer => createHmac('sha256', part).update(tt).digest();
    expect(keys.confirmJoiner).toEqual(mac(confirm.subarray(0, 16)));
    expect(keys.confirmHost).toEqual(mac(confirm.subarray(16)));
    const cipher = createCipheriv('aes-256-gcm', D('box joiner'), Buffer.alloc(12)).setAAD(run);
    const box = Buffer.concat([cipher.update('hello'), cipher.final(), cipher.getAuthTag()]);
    expect(newKeys().seal('box joiner', Buffer.from('hello'))).toEqual(box);
    const [hJ, hH, nJ] = [Buffer.from('hello j'), Buffer.from('hello h'), Buffer.alloc(32, 5)];
    const number =
      hkdf(D('sas'), H('sas', run, hJ, hH, nJ), { info: P('sas digits'), size: 8 }).readBigUInt64BE() % 1_000_000n;
    expect(keys.sas(hJ, hH, nJ)).toBe(number.toString().padStart(6, '0'));
    expect(keys.decideKey).toEqual(D('decide'));
    expect(tokenOf(D('decide'), 'joiner', 'yes')).toEqual(
      createHmac('sha256', D('decide')).update(P('joiner yes')).digest(),
    );
    expect(pairingHash('commit', nJ)).toEqual(H('commit', nJ));
  });

  it('has these values for one run, for ever', () => {
    expect(password.w.toString('hex')).toBe('a0dfb3ee5c3d5860930c699f552960bc581891153bd5203c89a98fe40a16cd9b');
    expect(sha256(Buffer.concat([shareJoiner, shareHost])).toString('hex')).toBe(
      'cb821ab2c682397bf7aba8fa5596bb1c1a81ca5f85c6d04713a213f8dd794950',
    );
    expect(run.toString('hex')).toBe('5871c19126787f35033586db95b23e6f4a416f975121b9bf2fb8ebc0b4b4dea5');
    expect(keys.confirmJoiner.toString('hex')).toBe('c947d1b26273b86eb2b078c1032703640903d790f42a98b303795bc5d721c23d');
    expect(keys.confirmHost.toString('hex')).toBe('bedda823d5494ee14ac53ba1dd56ae47d631dcdb0ed1c8f7483d5a22aa7dbdd1');
    expect(keys.decideKey.toString('hex')).toBe('edebe269e44a89b5801de86e349c28141e0e7501b9cc89f10be0d191b5a2aeba');
    expect(keys.sas(Buffer.from('j'), Buffer.from('h'), Buffer.alloc(32))).toBe('754385');
  });

  it('opens no box of another kind, run or text, and none with a truncated tag', () => {
    const message = Buffer.from('who I am');
    const box = newKeys().seal('box joiner', message);
    expect(keys.open('box joiner', box)).toEqual(message);
    expect(keys.open('box host', box)).toBeUndefined();
    const other = new RunKeys({ attempt: Buffer.alloc(16), shareJoiner, shareHost, secret, password });
    expect(other.open('box joiner', box)).toBeUndefined();
    for (let length = 0; length < box.length; length += 1)
      expect(keys.open('box joiner', box.subarray(0, length))).toBeUndefined();
    // A tag of 4 bytes, right as far as it goes: Node alone would take it.
    const short = Buffer.concat([box.subarray(0, message.length), box.subarray(message.length, message.length + 4)]);
    expect(keys.open('box joiner', short)).toBeUndefined();
  });

  it('seals one message with each key', () => {
    const once = newKeys();
    once.seal('box reveal', Buffer.from('one'));
    expect(() => once.seal('box reveal', Buffer.from('two'))).toThrow(TypeError);
  });

  it('shows six digits always', () => {
    const seen = Array.from({ length: 200 }, (_, index) => keys.sas(Buffer.from([index]), NONE, NONE));
    expect(seen.every((sas) => /^[0-9]{6}$/.test(sas))).toBe(true);
    expect(new Set(seen).size).toBeGreaterThan(195);
  });

  it('has a token for each word of each side, and none that says anything in another run', () => {
    const roles: Role[] = ['joiner', 'host'];
    const words: Word[] = ['yes', 'no', 'trusts'];
    const all = roles.flatMap((role) => words.map((word) => tokenOf(keys.decideKey, role, word).toString('hex')));
    expect(new Set(all).size).toBe(6);
    for (const role of roles) {
      for (const word of words) {
        const token = tokenOf(keys.decideKey, role, word);
        expect(wordOf(keys.decideKey, role, token)).toBe(word);
        expect(wordOf(keys.decideKey, role === 'host' ? 'joiner' : 'host', token)).toBeUndefined();
        expect(wordOf(Buffer.alloc(32), role, token)).toBeUndefined();
        expect(wordOf(keys.decideKey, role, token.subarray(1))).toBeUndefined();
      }
    }
  });
});
