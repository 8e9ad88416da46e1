import { createHash, createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import {
  answerChallenge,
  equalInConstantTime,
  hashToken,
  keyIdOf,
  newChallenge,
  verifyProof,
} from '../../src/kernel/token-proof.ts';

const TOKEN = 'ab'.repeat(32);
const PORT = 19_532;
const holder = (token: string) => {
  const tokenHash = hashToken(token);
  return (keyId: string) => (keyId === keyIdOf(tokenHash) ? tokenHash : undefined);
};

describe('the proof that a node holds a token', () => {
  it('is given by the node that holds it, for the port that was dialled', () => {
    const { header, nonce } = newChallenge(TOKEN);
    const proof = answerChallenge(header, { localPort: PORT, findHash: holder(TOKEN) });
    expect(verifyProof(proof, { token: TOKEN, nonce, port: PORT })).toBe(true);
  });

  it('is HMAC-SHA256, keyed with the SHA-256 of the token', () => {
    const { header, nonce } = newChallenge(TOKEN);
    const key = createHash('sha256').update(TOKEN).digest();
    const expected = createHmac('sha256', key).update(`loopsy proof ${nonce} ${PORT}`).digest('hex');
    expect(answerChallenge(header, { localPort: PORT, findHash: holder(TOKEN) })).toBe(expected);
  });

  it('can not be fetched from the real node through another port', () => {
    const { header, nonce } = newChallenge(TOKEN);
    const relayed = answerChallenge(header, { localPort: PORT, findHash: holder(TOKEN) });
    expect(verifyProof(relayed, { token: TOKEN, nonce, port: PORT + 1 })).toBe(false);
  });

  it('can not be replayed, guessed, cut or left out', () => {
    const first = newChallenge(TOKEN);
    const second = newChallenge(TOKEN);
    const proof = answerChallenge(first.header, { localPort: PORT, findHash: holder(TOKEN) });
    for (const bad of [proof, proof?.slice(0, 8), '', undefined, '0'.repeat(64), first.header, TOKEN]) {
      expect(verifyProof(bad, { token: TOKEN, nonce: second.nonce, port: PORT })).toBe(false);
    }
    expect(first.nonce).not.toBe(second.nonce);
  });

  it('is not given by a node that holds another token, nor for a malformed question', () => {
    const { header } = newChallenge(TOKEN);
    expect(answerChallenge(header, { localPort: PORT, findHash: holder('cd'.repeat(32)) })).toBeUndefined();
    for (const bad of ['', 'x', `${header}0`, `${header}\n`, header.toUpperCase(), header.slice(1), '.'.repeat(49)]) {
      expect(answerChallenge(bad, { localPort: PORT, findHash: holder(TOKEN) })).toBeUndefined();
    }
  });

  it('shows nothing of the token in the question', () => {
    const { header } = newChallenge(TOKEN);
    const keyId = keyIdOf(hashToken(TOKEN));
    expect(header.startsWith(`${keyId}.`)).toBe(true);
    expect(hashToken(TOKEN)).not.toContain(keyId);
    expect(keyId).toMatch(/^[0-9a-f]{16}$/);
  });

  it('compares texts of any length', () => {
    expect(equalInConstantTime('abc', 'abc')).toBe(true);
    expect(equalInConstantTime('abc', 'abcd')).toBe(false);
    expect(equalInConstantTime('é', 'e')).toBe(false);
    expect(equalInConstantTime('', '')).toBe(true);
  });
});
