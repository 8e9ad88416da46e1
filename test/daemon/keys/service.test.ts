import { beforeEach, describe, expect, it } from 'vitest';

import { keyHandlers } from '../../../src/daemon/keys/handlers.ts';
import { Keys } from '../../../src/daemon/keys/service.ts';
import { hashToken, keyIdOf } from '../../../src/kernel/token-proof.ts';
import { ownerKeySchema } from '../../../src/protocol/keys.ts';
import { callerName, type Caller } from '../../../src/trust/caller.ts';
import { AgentTokens, newToken } from '../../../src/trust/tokens.ts';
import { makeMachine, TrustDesk } from '../../helpers/trust-desk.ts';
import { callOf } from '../call.ts';
import { verifies } from '../../requirements.ts';

let desk: TrustDesk;
let keys: Keys;
let owner: string;
const startToken = newToken();
const agentSecret = newToken();

beforeEach(async () => {
  desk = new TrustDesk(await makeMachine());
  owner = newToken();
  keys = new Keys({
    trust: desk.book,
    agents: new AgentTokens(desk.clock),
    ownerKey: () => owner,
    replaceOwnerKey: (key) => Promise.resolve(void (owner = key)),
    startToken,
    agentSecret,
    now: () => desk.clock.now(),
  });
});

const nameOf = (answer: Caller | string): string => (typeof answer === 'string' ? answer : callerName(answer));

describe('who holds a token', () => {
  it(verifies('trust.tokens', 'is the owner, the agent secret, an agent under its label, or a named key'), async () => {
    const { token, label } = keys.connectAgent('claude');
    const { key } = await keys.add('ci', { level: 'full' });
    const named = (given: string, loopback: boolean): string => nameOf(keys.caller(given, loopback));
    expect(label).toBe('claude');
    expect([owner, startToken, agentSecret, token, key, newToken()].map((each) => named(each, true))).toEqual([
      'owner', 'owner', 'agent-secret', 'agent:claude', 'key:ci', 'invalid_key',
    ]); // prettier-ignore
    expect([owner, startToken, agentSecret, token, key].map((each) => named(each, false))).toEqual([
      'invalid_key', 'invalid_key', 'invalid_key', 'invalid_key', 'key:ci',
    ]); // prettier-ignore
  });

  it('is nobody once it was revoked', async () => {
    const { key } = await keys.add('ci', undefined);
    expect(keys.hashByKeyId(keyIdOf(hashToken(key)))).toBe(hashToken(key));
    expect(await keys.revoke('ci')).toEqual({ success: true, name: 'ci' });
    expect(keys.caller(key, true)).toBe('revoked');
  });

  it('can be proved for every live token, and for no other', () => {
    const { token } = keys.connectAgent('claude');
    for (const each of [owner, startToken, agentSecret, token]) {
      expect(keys.hashByKeyId(keyIdOf(hashToken(each)))).toBe(hashToken(each));
    }
    expect(keys.hashByKeyId(keyIdOf(hashToken(newToken())))).toBeUndefined();
  });
});

describe("the owner's key", () => {
  it('is replaced at once', async () => {
    const before = owner;
    const { key } = ownerKeySchema.parse(await keys.generate(callOf('key.generate')));
    expect(key).not.toBe(before);
    expect([nameOf(keys.caller(before, true)), nameOf(keys.caller(key, true))]).toEqual(['invalid_key', 'owner']);
    expect(keys.show()).toEqual({ key });
  });
});

describe('named keys', () => {
  it('are listed without their secret, the agents of this machine first', async () => {
    const { key } = await keys.add('ci', undefined);
    const rows = keys.list();
    expect(rows).toMatchObject([
      { name: 'agent', kind: 'agent', grant: { level: 'full', reach: 'all' } },
      { name: 'ci', kind: 'named', grant: { level: 'collaborate', reach: [] }, createdAt: desk.clock.now() },
    ]);
    expect(JSON.stringify(rows)).not.toContain(key);
  });

  it('are granted anew by name, as the agents are; the agents have none to revoke', async () => {
    await keys.add('ci', undefined);
    expect(await keys.grant('ci', { level: 'observe' })).toMatchObject({ name: 'ci', grant: { level: 'observe' } });
    expect(await keys.grant('agent', { level: 'observe' })).toMatchObject({
      kind: 'agent',
      grant: { level: 'observe' },
    });
    await expect(keys.grant('nobody', { level: 'observe' })).rejects.toMatchObject({ error: 'invalid_key' });
    await expect(keys.revoke('agent')).rejects.toMatchObject({
      error: 'conflict',
      hint: expect.stringContaining('key grant agent'),
    });
    expect(Object.keys(keyHandlers(keys))).toHaveLength(7);
  });
});

describe('a grant with an end', () => {
  it(verifies('grant.expired-shown', 'is shown as over from that moment on'), async () => {
    await keys.add('ci', { level: 'full', expires: 1000 });
    const shown = () => keys.list().find(({ name }) => name === 'ci')?.grant;
    expect(shown()).not.toHaveProperty('expired');
    desk.clock.advance(1000);
    expect(shown()).toMatchObject({ level: 'full', expired: true });
  });
});
