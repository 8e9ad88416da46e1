import { describe, expect, it } from 'vitest';

import { hashToken, keyIdOf } from '../../src/kernel/token-proof.ts';
import { AgentTokens, newToken } from '../../src/trust/tokens.ts';
import { FakeClock } from '../helpers/clock.ts';

describe('a token', () => {
  it('has 256 random bits', () => {
    const [one, two] = [newToken(), newToken()];
    expect(one).toMatch(/^[0-9a-f]{64}$/);
    expect(one).not.toBe(two);
  });
});

describe('the tokens of agents', () => {
  it('belong to one process each: a label that is taken gets a number', () => {
    const tokens = new AgentTokens(new FakeClock());
    const minted = [tokens.mint('claude'), tokens.mint('claude'), tokens.mint('codex'), tokens.mint('claude')];
    expect(minted.map(({ label }) => label)).toEqual(['claude', 'claude-2', 'codex', 'claude-3']);
    expect(minted.map(({ token }) => tokens.labelOf(token))).toEqual(['claude', 'claude-2', 'codex', 'claude-3']);
    const long = 'x'.repeat(32);
    expect([tokens.mint(long).label, tokens.mint(long).label]).toEqual([long, `${'x'.repeat(30)}-2`]);
  });

  it('know no guessed, ended or foreign token', () => {
    const tokens = new AgentTokens(new FakeClock());
    const { token, label } = tokens.mint('claude');
    expect(tokens.labelOf(newToken())).toBeUndefined();
    expect(tokens.labelOf(hashToken(token))).toBeUndefined();
    expect(tokens.end(label)).toBe(true);
    expect(tokens.end(label)).toBe(false);
    expect(tokens.labelOf(token)).toBeUndefined();
    expect(tokens.mint('claude').label).toBe('claude');
  });

  it('all end when the agents’ grant is taken away', () => {
    const tokens = new AgentTokens(new FakeClock());
    const all = [tokens.mint('a'), tokens.mint('b')];
    tokens.endAll();
    expect(all.map(({ token }) => tokens.labelOf(token))).toEqual([undefined, undefined]);
  });

  it('end when they are not used, whatever the wall clock does', () => {
    const clock = new FakeClock();
    const tokens = new AgentTokens(clock, { idleMs: 1000 });
    const { token, expiresAt } = tokens.mint('claude');
    expect(expiresAt).toBe(clock.now() + 1000);
    clock.jump(1_000_000);
    clock.advance(999);
    expect(tokens.labelOf(token)).toBe('claude');
    clock.advance(999);
    expect(tokens.labelOf(token)).toBe('claude');
    clock.advance(1000);
    expect(tokens.labels()).toEqual([]);
    expect(tokens.labelOf(token)).toBeUndefined();
  });

  it('are bounded: the one that was not used for the longest time makes room', () => {
    const tokens = new AgentTokens(new FakeClock(), { maxTokens: 2 });
    const [one, two] = [tokens.mint('one'), tokens.mint('two')];
    tokens.labelOf(one.token);
    tokens.mint('three');
    expect(tokens.labelOf(two.token)).toBeUndefined();
    expect(tokens.labelOf(one.token)).toBe('one');
    for (let count = 0; count < 1000; count += 1) tokens.mint('flood');
    expect(tokens.labels()).toHaveLength(2);
  });

  it('are found by their key id for the proof that the node holds them', () => {
    const tokens = new AgentTokens(new FakeClock());
    const { token } = tokens.mint('claude');
    expect(tokens.hashByKeyId(keyIdOf(hashToken(token)))).toBe(hashToken(token));
    expect(tokens.hashByKeyId('0'.repeat(16))).toBeUndefined();
  });
});
