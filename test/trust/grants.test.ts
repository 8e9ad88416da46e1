import { describe, expect, it } from 'vitest';

import type { Grant } from '../../src/protocol/grants.ts';
import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';
import { LEVELS, LEVEL_SCOPES, SCOPES, type Scope } from '../../src/protocol/scopes.ts';
import type { Caller } from '../../src/trust/caller.ts';
import {
  decide,
  decideReach,
  grantFromInput,
  grantOfLevel,
  isNarrower,
  maySee,
  NO_GRANT,
  shownGrant,
  type Facts,
  type Rule,
} from '../../src/trust/grants.ts';
import { verifies } from '../requirements.ts';

const NOW = 1_800_000_000_000;
const OTHER = 'b'.repeat(32);
const MACHINE = 'a'.repeat(32);

const peer = (grant: Grant): Caller => ({ kind: 'peer', machineId: MACHINE, nodeId: MACHINE, grant });
const key = (grant: Grant): Caller => ({ kind: 'key', name: 'ci', grant });
const agent = (grant: Grant): Caller => ({ kind: 'agent', label: 'claude', grant });
const here: Facts = { viaLink: false, loopback: true, now: NOW };
const overLink: Facts = { viaLink: true, loopback: false, now: NOW };
const factsOf = (caller: Caller): Facts => (caller.kind === 'peer' ? overLink : here);

const outcome = (caller: Caller, rule: Rule, facts: Facts): string => {
  const decision = decide(caller, rule, facts);
  return decision.allowed ? 'allowed' : decision.error;
};

const isScope = (access: string): access is Scope => SCOPES.some((scope) => scope === access);

describe('the authorisation of every operation', () => {
  /** Who each access admits, written down once more, by hand. */
  const expected = (id: (typeof OPERATION_IDS)[number], kind: Caller['kind']): string => {
    const { access, remote, linkOnly } = rowOf(id);
    if (access === 'public') return 'allowed';
    if (access === 'pairing' && kind !== 'stranger') return 'scope_missing';
    if (kind === 'stranger') return 'missing_key';
    if (access === 'link') return kind === 'peer' ? 'allowed' : 'missing_key';
    if (linkOnly === true) return kind === 'peer' ? 'allowed' : 'missing_key';
    if (access === 'owner') return kind === 'owner' ? 'allowed' : 'scope_missing';
    if (access === 'agent-secret') return kind === 'agent-secret' ? 'allowed' : 'scope_missing';
    if (kind === 'agent-secret') return 'scope_missing';
    if (kind === 'peer' && !remote) return 'scope_missing';
    return 'allowed';
  };
  const full = grantOfLevel('full', 'all');
  const callers: Caller[] = [
    { kind: 'stranger' },
    { kind: 'owner' },
    { kind: 'agent-secret' },
    agent(full),
    key(full),
    peer(full),
  ];

  for (const id of OPERATION_IDS) {
    it(`admits exactly the right callers to ${id}`, () => {
      for (const caller of callers) {
        expect(outcome(caller, rowOf(id), factsOf(caller)), `a caller of kind ${caller.kind}`).toBe(
          expected(id, caller.kind),
        );
      }
    });

    it(`needs the very scope for ${id}`, () => {
      const { access, remote, linkOnly = false } = rowOf(id);
      if (!isScope(access)) return;
      const without: Grant = { ...full, scopes: SCOPES.filter((scope) => scope !== access) };
      const only: Grant = { ...full, scopes: [access] };
      for (const make of linkOnly ? [peer] : [agent, key, peer]) {
        expect(outcome(make(without), rowOf(id), factsOf(make(without)))).toBe('scope_missing');
        expect(outcome(make(NO_GRANT), rowOf(id), factsOf(make(NO_GRANT)))).toBe('scope_missing');
        const admitted = make === peer && !remote && !linkOnly ? 'scope_missing' : 'allowed';
        expect(outcome(make(only), rowOf(id), factsOf(make(only)))).toBe(admitted);
      }
    });

    it(`refuses an expired grant for ${id}`, () => {
      const { access, remote, linkOnly = false } = rowOf(id);
      if (!isScope(access)) return;
      for (const make of linkOnly ? [peer] : [agent, key, ...(remote ? [peer] : [])]) {
        const caller = make({ ...full, expiresAt: NOW });
        expect(outcome(caller, rowOf(id), factsOf(caller))).toBe('expired_key');
        const live = make({ ...full, expiresAt: NOW + 1 });
        expect(outcome(live, rowOf(id), factsOf(live))).toBe('allowed');
      }
    });

    it(`forwards ${id} only where the table says so, and never for a peer`, () => {
      const { access, remote, linkOnly } = rowOf(id);
      const to = { machineId: OTHER, nodeId: OTHER };
      expect(outcome(peer(full), rowOf(id), { ...overLink, peer: to })).toBe('invalid_request');
      const owner = outcome({ kind: 'owner' }, rowOf(id), { ...here, peer: to });
      if (access === 'owner' || access === 'public') expect(owner).toBe('invalid_request');
      else if (linkOnly === true) expect(owner).toBe('missing_key');
      else if (isScope(access)) expect(owner).toBe(remote ? 'allowed' : 'invalid_request');
      else expect(owner).not.toBe('allowed');
    });
  }

  it('never lets a row be both the owner’s and remote', () => {
    for (const id of OPERATION_IDS) {
      const { access, remote } = rowOf(id);
      if (!isScope(access)) expect(remote, `operation ${id}`).toBe(false);
    }
  });
});

const EXEC: Rule = { summary: 'Run', access: 'exec', remote: true };

describe('a decision', () => {
  it(verifies('trust.admin', 'takes the owner’s key, an agent’s token and the agent secret on loopback only'), () => {
    for (const caller of [
      { kind: 'owner' },
      { kind: 'agent-secret' },
      agent(grantOfLevel('full', 'all')),
    ] satisfies Caller[]) {
      for (const facts of [{ ...here, loopback: false }, overLink, { ...overLink, loopback: true }]) {
        for (const id of OPERATION_IDS) expect(outcome(caller, rowOf(id), facts)).toBe('invalid_key');
      }
    }
  });

  it('lets a bare stranger take the steps of a pairing over TLS, and nothing else', () => {
    const bare: Facts = { ...here, loopback: false, anonymousTls: true };
    const stranger: Caller = { kind: 'stranger' };
    for (const id of OPERATION_IDS) {
      const { access } = rowOf(id);
      const open = access === 'pairing' || access === 'public';
      expect(outcome(stranger, rowOf(id), bare), id).toBe(open ? 'allowed' : 'missing_key');
      expect(outcome(stranger, rowOf(id), { ...bare, anonymousTls: false }) === 'allowed', id).toBe(
        access === 'public',
      );
    }
  });

  it('lets a named key in from the network, but not on a connection that has a certificate too', () => {
    expect(outcome(key(grantOfLevel('full')), EXEC, { ...here, loopback: false })).toBe('allowed');
    expect(outcome(key(grantOfLevel('full')), EXEC, overLink)).toBe('invalid_request');
  });

  it('does not take a peer without its link', () => {
    expect(outcome(peer(grantOfLevel('full')), EXEC, here)).toBe('missing_key');
  });

  it('keeps a caller within its reach, by machine or by node', () => {
    const limited = agent({ ...grantOfLevel('full'), reach: [OTHER] });
    expect(outcome(limited, EXEC, { ...here, peer: { machineId: OTHER, nodeId: 'c'.repeat(32) } })).toBe('allowed');
    expect(outcome(limited, EXEC, { ...here, peer: { machineId: MACHINE, nodeId: OTHER } })).toBe('allowed');
    expect(outcome(limited, EXEC, { ...here, peer: { machineId: MACHINE, nodeId: MACHINE } })).toBe('scope_missing');
    expect(outcome(key(grantOfLevel('full')), EXEC, { ...here, peer: { machineId: OTHER } })).toBe('scope_missing');
  });

  it('tells nobody who may not reach all whether a name is known here', () => {
    const limited = agent({ ...grantOfLevel('full'), reach: [OTHER] });
    expect(outcome(limited, EXEC, { ...here, peer: {} })).toBe('scope_missing');
    expect(outcome(agent(grantOfLevel('full', 'all')), EXEC, { ...here, peer: {} })).toBe('allowed');
  });

  it('decides reach by itself as it does for forwarding, for every kind of caller', () => {
    const all = grantOfLevel('full', 'all');
    const some = { ...grantOfLevel('full'), reach: [OTHER] };
    const callers: Caller[] = [
      { kind: 'stranger' },
      { kind: 'owner' },
      { kind: 'agent-secret' },
      ...[all, some, grantOfLevel('full')].flatMap((grant) => [agent(grant), key(grant), peer(grant)]),
    ];
    for (const caller of callers) {
      for (const named of [{}, { machineId: OTHER, nodeId: OTHER }, { machineId: MACHINE, nodeId: MACHINE }]) {
        const reach = decideReach(caller, named);
        const isNobody = caller.kind === 'stranger' || caller.kind === 'agent-secret';
        const forwarding = decide(caller, EXEC, { ...factsOf(caller), peer: named });
        expect(isNobody ? reach.allowed : reach).toEqual(isNobody ? false : forwarding);
      }
    }
  });

  it(
    verifies('transfer.reach', 'refuses a caller that would have this node move files of a peer beyond its reach'),
    () => {
      const named = { machineId: OTHER, nodeId: OTHER };
      for (const grant of [grantOfLevel('full'), { ...grantOfLevel('full'), reach: [MACHINE] }])
        for (const make of [agent, key])
          expect(decideReach(make(grant), named)).toMatchObject({ error: 'scope_missing' });
      expect(decideReach(agent({ ...grantOfLevel('full'), reach: [OTHER] }), named)).toEqual({ allowed: true });
    },
  );

  it(verifies('link.no-lending', 'refuses a peer that would reach a third node by a field of its request'), () => {
    const refused = decideReach(peer(grantOfLevel('full', 'all')), { machineId: OTHER, nodeId: OTHER });
    expect(refused).toMatchObject({ allowed: false, error: 'invalid_request' });
    for (const id of OPERATION_IDS) {
      const { peers, outbound, remote } = rowOf(id);
      // What names peers is no peer's to ask for at all.
      if (peers !== undefined) expect([id, outbound, remote]).toEqual([id, true, false]);
    }
  });

  it('needs the scope for forwarding too', () => {
    const observer = agent(grantOfLevel('observe', 'all'));
    expect(outcome(observer, EXEC, { ...here, peer: { nodeId: OTHER } })).toBe('scope_missing');
  });

  it('refuses an outbound operation over a link', () => {
    const broadcast: Rule = { summary: 'Broadcast', access: 'context:write', remote: true, outbound: true };
    expect(outcome(peer(grantOfLevel('full')), broadcast, overLink)).toBe('scope_missing');
    expect(outcome(agent(grantOfLevel('full', 'all')), broadcast, here)).toBe('allowed');
  });

  it(verifies('trust.levels', 'does not believe a record that lists more scopes than its level has'), () => {
    expect(outcome(peer({ level: 'observe', scopes: ['exec'], reach: [] }), EXEC, overLink)).toBe('scope_missing');
  });

  it('says what is wrong and what to do', () => {
    const decision = decide(peer(grantOfLevel('observe')), EXEC, overLink);
    expect(decision).toMatchObject({
      message: 'your machine has no scope "exec" here (level observe)',
      hint: expect.stringContaining('loopsy peers grant'),
    });
  });
});

describe('who may see an object', () => {
  it(verifies('trust.owners', 'is the owner, and who started it'), () => {
    const one = peer(grantOfLevel('full'));
    expect(maySee({ kind: 'owner' }, undefined)).toBe(true);
    expect(maySee({ kind: 'owner' }, 'peer:x')).toBe(true);
    expect(maySee(one, `peer:${MACHINE}`)).toBe(true);
    expect(maySee(one, `peer:${OTHER}`)).toBe(false);
    expect(maySee(one, 'owner')).toBe(false);
    expect(maySee(one, undefined)).toBe(false);
    expect(maySee(agent(NO_GRANT), 'agent:claude')).toBe(true);
    expect(maySee(agent(NO_GRANT), 'agent:claude-2')).toBe(false);
    expect(maySee(key(NO_GRANT), 'agent:ci')).toBe(false);
  });

  it('is never a stranger or the agent secret, whatever a record says', () => {
    expect(maySee({ kind: 'stranger' }, 'stranger')).toBe(false);
    expect(maySee({ kind: 'agent-secret' }, 'agent-secret')).toBe(false);
  });
});

describe('a grant from a person’s words', () => {
  const context = { now: NOW, reach: [], resolvePeer: (name: string) => `id-of-${name}` };

  it('is all of a level where nothing narrows it', () => {
    for (const level of LEVELS) expect(grantFromInput({ level }, context).scopes).toEqual(LEVEL_SCOPES[level]);
  });

  it(verifies('trust.levels', 'is narrowed to scopes of the level, folders, a time and a reach'), () => {
    const input = {
      level: 'collaborate',
      scopes: ['files:read'],
      folders: ['~/x'],
      expires: 5000,
      reach: ['kai', 'kai'],
    } as const;
    expect(
      grantFromInput(
        { ...input, scopes: [...input.scopes], folders: [...input.folders], reach: [...input.reach] },
        context,
      ),
    ).toEqual({
      level: 'collaborate',
      scopes: ['files:read'],
      folders: ['~/x'],
      expiresAt: NOW + 5000,
      reach: ['id-of-kai'],
    });
  });

  it('refuses scopes that the level does not have, and folders that would narrow nothing', () => {
    expect(() => grantFromInput({ level: 'observe', scopes: ['exec'] }, context)).toThrow(/does not have exec/);
    expect(() => grantFromInput({ level: 'full', folders: ['/x'] }, context)).toThrow(/folders do not narrow/);
  });

  it('counts as narrower where anything was taken away', () => {
    const full = grantOfLevel('full', 'all');
    const observe = { ...grantOfLevel('observe'), folders: ['/a', '/b'] };
    expect(isNarrower(full, full)).toBe(false);
    expect(isNarrower(full, grantOfLevel('collaborate', 'all'))).toBe(true);
    expect(isNarrower(full, grantOfLevel('full', [OTHER]))).toBe(true);
    expect(isNarrower(full, { ...full, expiresAt: NOW })).toBe(true);
    expect(isNarrower({ ...full, expiresAt: NOW }, full)).toBe(false);
    // Below full no folder is listed until one is.
    expect(isNarrower(grantOfLevel('observe'), observe)).toBe(false);
    expect(isNarrower(observe, grantOfLevel('observe'))).toBe(true);
    expect(isNarrower(observe, { ...observe, folders: ['/a'] })).toBe(true);
    expect(isNarrower({ ...observe, folders: ['/a'] }, observe)).toBe(false);
    expect(isNarrower(grantOfLevel('observe'), full)).toBe(false);
  });
});

describe('a refusal', () => {
  const rule = rowOf('job.execute');
  const over: Grant = { ...grantOfLevel('full'), expiresAt: NOW };
  const denial = (caller: Caller): { message: string; hint?: string } => {
    const decision = decide(caller, rule, factsOf(caller));
    if (decision.allowed) throw new Error('allowed');
    return decision;
  };

  it.each([
    [key, 'the key "ci"', '`loopsy key grant ci <level>`'],
    [agent, 'the agent claude', '`loopsy key grant agent <level>`'],
    [peer, 'your machine', '`loopsy peers grant <your machine> <level>`'],
  ])('names its caller in words, and the command that changes it', (callerOf, who, command) => {
    for (const grant of [over, grantOfLevel('observe')]) {
      const { message, hint } = denial(callerOf(grant));
      expect(message).toContain(who);
      expect(message).not.toContain(MACHINE);
      expect(hint).toContain(command);
    }
  });

  it('is known before it happens: what is over is shown as over', () => {
    expect(shownGrant(over, NOW)).toEqual({ ...over, expired: true });
    expect(shownGrant(over, NOW - 1)).toEqual(over);
    expect(shownGrant(grantOfLevel('full'), NOW)).not.toHaveProperty('expired');
  });
});
