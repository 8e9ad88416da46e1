import { LoopsyError, type ErrorName } from '../protocol/errors.ts';
import { foldersMisplaced } from '../protocol/folders.ts';
import type { Grant, GrantInput, ShownGrant } from '../protocol/grants.ts';
import type { Access, Operation } from '../protocol/operation.ts';
import { LEVEL_SCOPES, type Scope } from '../protocol/scopes.ts';
import { callerName, type Caller } from './caller.ts';

/** A caller whose grant decides. */
type Granted = Extract<Caller, { readonly grant: Grant }>;

/**
 * A peer that a request names. Without ids the name is not known here: only a caller who may reach all gets past that.
 */
interface NamedPeer {
  readonly machineId?: string;
  readonly nodeId?: string;
}

/** What decides beside the caller and the operation. */
export interface Facts {
  /** True where the request came over mutual TLS with a client certificate. */
  readonly viaLink: boolean;
  /** True where both ends of the socket are on this machine (`isLoopback`). */
  readonly loopback: boolean;
  /** True where it came over TLS from one who showed neither a certificate nor a key. Missing: it did not. */
  readonly anonymousTls?: boolean;
  /** There where the request names a peer to be forwarded to. */
  readonly peer?: NamedPeer;
  /** Wall time, ms since 1970. */
  readonly now: number;
}

/** Why a caller may not. */
interface Denial {
  readonly allowed: false;
  readonly error: ErrorName;
  readonly message: string;
  readonly hint?: string;
}

/** May, or why not. */
export type Decision = { readonly allowed: true } | Denial;

/** The rows that `decide` reads. */
export type Rule = Pick<Operation, 'summary' | 'access' | 'remote' | 'outbound' | 'linkOnly'>;

const ALLOWED: Decision = { allowed: true };

const deny = (error: ErrorName, message: string, hint?: string): Denial => ({
  allowed: false,
  error,
  message,
  ...(hint === undefined ? {} : { hint }),
});

const NOT_FROM_HERE = deny(
  'invalid_key',
  'this key counts on its own machine only',
  'from another machine use a named key (`loopsy key add`), over TLS',
);

/** Callers whose secret must never have worked from another machine. */
const isLocalOnly = (caller: Caller): boolean =>
  caller.kind === 'owner' || caller.kind === 'agent' || caller.kind === 'agent-secret';

const misplaced = (caller: Caller, facts: Facts): Denial | undefined => {
  if (isLocalOnly(caller) && (!facts.loopback || facts.viaLink)) return NOT_FROM_HERE;
  if (caller.kind === 'key' && facts.viaLink)
    return deny('invalid_request', 'a certificate and a key on one connection');
  if (caller.kind === 'peer' && !facts.viaLink) return deny('missing_key', 'a peer is known by its certificate only');
  return undefined;
};

const onlyOverLink = (caller: Caller): Decision =>
  caller.kind === 'peer' ? ALLOWED : deny('missing_key', 'only a trusted node may ask this, over its link');

const onlyOwner = (rule: Rule, caller: Caller): Decision =>
  caller.kind === 'owner'
    ? ALLOWED
    : deny(
        'scope_missing',
        `"${rule.summary}" is the owner's alone, on this machine; it can not be granted`,
        'ask the owner of this node',
      );

/** Who can show anything has a better way in, or is refused for what it showed. */
const onlyUnknown = (caller: Caller, { anonymousTls }: Facts): Decision => {
  if (caller.kind === 'stranger') {
    return anonymousTls === true
      ? ALLOWED
      : deny('missing_key', 'pairing takes a bare TLS connection: no certificate, no key');
  }
  return deny('scope_missing', 'this step of a pairing is for a machine that is not known yet');
};

const onlyAgentSecret = (caller: Caller): Decision =>
  caller.kind === 'agent-secret' ? ALLOWED : deny('scope_missing', "only this machine's agent secret opens this");

/** A caller in the words of whoever reads the refusal: the caller itself. */
const wordsOf = (caller: Granted): readonly [who: string, command: string] => {
  switch (caller.kind) {
    case 'agent':
      return [`the agent ${caller.label}`, 'key grant agent <level>'];
    case 'key':
      return [`the key "${caller.name}"`, `key grant ${caller.name} <level>`];
    case 'peer':
      return ['your machine', 'peers grant <your machine> <level>'];
  }
};

const denyGrant = (error: ErrorName, caller: Granted, why: string): Denial => {
  const [who, command] = wordsOf(caller);
  return deny(error, `${who} ${why}`, `the owner of the node that refuses can change it: \`loopsy ${command}\``);
};

/** True where a grant no longer gives anything. */
const isOver = ({ expiresAt }: Grant, now: number): boolean => expiresAt !== undefined && now >= expiresAt;

/** A grant as it is shown: one that is over says so. `now` is wall time, ms since 1970. */
export const shownGrant = (grant: Grant, now: number): ShownGrant =>
  isOver(grant, now) ? { ...grant, expired: true } : grant;

/** What the caller's own grant says; the owner has none, because nothing narrows it. */
const withinGrant = (caller: Caller, scope: Scope, now: number): Decision => {
  if (caller.kind === 'owner') return ALLOWED;
  if (caller.kind === 'stranger') return deny('missing_key', 'this request carries no key');
  if (caller.kind === 'agent-secret')
    return deny('scope_missing', 'the agent secret only gets a token for one agent process');
  const { grant } = caller;
  if (isOver(grant, now)) {
    const endedAt = new Date(grant.expiresAt ?? now).toISOString();
    return denyGrant('expired_key', caller, `may do nothing here any more: what it was granted ended at ${endedAt}`);
  }
  // Both must hold: a record that lists more than its level has was not made here.
  if (grant.scopes.includes(scope) && LEVEL_SCOPES[grant.level].includes(scope)) return ALLOWED;
  return denyGrant('scope_missing', caller, `has no scope "${scope}" here (level ${grant.level})`);
};

const reaches = (caller: Caller, peer: NamedPeer): boolean => {
  if (caller.kind === 'owner') return true;
  if (caller.kind !== 'agent' && caller.kind !== 'key') return false;
  const { reach } = caller.grant;
  if (reach === 'all') return true;
  return [peer.machineId, peer.nodeId].some((id) => id !== undefined && reach.includes(id));
};

/**
 * May this caller have this node address that peer, by whatever operation? Pure; default deny. What the operation takes
 * beside it, and whether the grant is over, is for `decide`.
 */
export const decideReach = (caller: Caller, peer: NamedPeer): Decision => {
  if (caller.kind === 'peer') {
    return deny(
      'invalid_request',
      'a request that came over a link can not name a further peer',
      'ask that peer directly: no node lends another its authority',
    );
  }
  return reaches(caller, peer)
    ? ALLOWED
    : deny('scope_missing', `${callerName(caller)} may not address that peer through this node`);
};

const mayForward = (rule: Rule, caller: Caller, peer: NamedPeer): Decision =>
  rule.remote || caller.kind === 'peer'
    ? decideReach(caller, peer)
    : deny('invalid_request', `"${rule.summary}" can not be forwarded to a peer`, 'leave `peer` out, or run it there');

const mayOverLink = (rule: Rule): Decision => {
  if (rule.linkOnly === true) return ALLOWED;
  if (rule.outbound === true)
    return deny('scope_missing', `"${rule.summary}" makes this node address others: no peer may ask for that`);
  return rule.remote ? ALLOWED : deny('scope_missing', `"${rule.summary}" is not for other nodes`);
};

const byScope = (scope: Scope, rule: Rule, { caller, now }: { caller: Caller; now: number }): Decision => {
  if (rule.linkOnly === true && caller.kind !== 'peer') return onlyOverLink(caller);
  const overLink = caller.kind === 'peer' ? mayOverLink(rule) : ALLOWED;
  return overLink.allowed ? withinGrant(caller, scope, now) : overLink;
};

const byAccess = (access: Access, rule: Rule, asking: { caller: Caller; facts: Facts }): Decision => {
  switch (access) {
    case 'public':
      return ALLOWED;
    case 'link':
      return onlyOverLink(asking.caller);
    case 'owner':
      return onlyOwner(rule, asking.caller);
    case 'agent-secret':
      return onlyAgentSecret(asking.caller);
    case 'pairing':
      return onlyUnknown(asking.caller, asking.facts);
    default:
      return byScope(access, rule, { caller: asking.caller, now: asking.facts.now });
  }
};

/**
 * The one decision: may this caller carry out this operation? Pure; default deny; from parsed facts only.
 * Folders and other limits of a grant are for the guards, the ownership of objects for `maySee`.
 */
export const decide = (caller: Caller, rule: Rule, facts: Facts): Decision => {
  const wrongPlace = misplaced(caller, facts);
  if (wrongPlace !== undefined) return wrongPlace;
  const isForStrangers = rule.access === 'public' || rule.access === 'pairing';
  if (caller.kind === 'stranger' && !isForStrangers) return deny('missing_key', 'this request carries no key');
  const here = byAccess(rule.access, rule, { caller, facts });
  if (facts.peer === undefined) return here;
  const there = mayForward(rule, caller, facts.peer);
  // A peer that tries to go further hears that first: it is what is wrong with its request.
  if (there.allowed || (!here.allowed && caller.kind !== 'peer')) return here;
  return there;
};

/** What a stored caller wants to go on with. */
interface Standing {
  readonly op: Rule;
  /** nodeIds of the peers that it addresses; undefined: this node. */
  readonly peers: readonly (string | undefined)[];
  /** Wall time, ms since 1970. */
  readonly now: number;
}

/**
 * Decides again for a caller of this machine who asked before a restart.
 * @throws {LoopsyError} where it is nobody any more, or may not do that any more.
 */
export const allowedNow = (caller: Caller | undefined, { op, peers, now }: Standing): Caller => {
  if (caller === undefined) throw new LoopsyError('revoked');
  const addressed = peers.filter((nodeId) => nodeId !== undefined);
  const decisions = [
    decide(caller, op, { loopback: true, viaLink: false, now }),
    ...addressed.map((nodeId) => decideReach(caller, { machineId: nodeId, nodeId })),
  ];
  for (const decision of decisions)
    if (!decision.allowed) throw new LoopsyError(decision.error, { message: decision.message });
  return caller;
};

/** True where the caller may see and steer an object: the owner all, others what they started, unknown owners nobody. */
export const maySee = (caller: Caller, startedBy: string | undefined): boolean => {
  if (caller.kind === 'owner') return true;
  if (caller.kind === 'stranger' || caller.kind === 'agent-secret' || startedBy === undefined) return false;
  return callerName(caller) === startedBy;
};

/** Where a grant's time and reach come from. */
export interface GrantContext {
  /** Wall time, ms since 1970. */
  readonly now: number;
  /** What the caller may address where the person says nothing. */
  readonly reach: Grant['reach'];
  /** The nodeId of a peer that a person named. @throws where there is none. */
  readonly resolvePeer: (reference: string) => string;
}

/**
 * The grant that a person's words mean.
 * @throws {LoopsyError} `invalid_request` where a scope is not of the level, or folders are given for a level that
 * they can't narrow: a limit that does nothing would be a lie.
 */
export const grantFromInput = (input: GrantInput, context: GrantContext): Grant => {
  const ofLevel = LEVEL_SCOPES[input.level];
  const foreign = input.scopes?.filter((scope) => !ofLevel.includes(scope)) ?? [];
  if (foreign.length > 0) {
    throw new LoopsyError('invalid_request', {
      message: `the level ${input.level} does not have ${foreign.join(', ')}`,
      hint: `its scopes are ${ofLevel.join(', ')}`,
      details: { field: 'scopes' },
    });
  }
  refuseMisplacedFolders({ grant: input.level, folders: input.folders });
  const reach = Array.isArray(input.reach) ? [...new Set(input.reach.map(context.resolvePeer))] : input.reach;
  return {
    level: input.level,
    scopes: ofLevel.filter((scope) => input.scopes?.includes(scope) ?? true),
    ...(input.folders === undefined ? {} : { folders: input.folders }),
    ...(input.expires === undefined ? {} : { expiresAt: context.now + input.expires }),
    reach: reach ?? context.reach,
  };
};

/**
 * What a person chose with a yes, as a wish for a grant; empty where nothing was chosen.
 * @throws {LoopsyError} `invalid_request` for folders that narrow nothing.
 */
export const grantWish = ({
  grant,
  folders,
}: {
  readonly grant?: Grant['level'] | undefined;
  readonly folders?: string[] | undefined;
}): { readonly grant?: GrantInput } => {
  refuseMisplacedFolders({ grant, folders });
  if (grant === undefined) return {};
  return { grant: { level: grant, ...(folders === undefined ? {} : { folders }) } };
};

const refuseMisplacedFolders = (chosen: Parameters<typeof foldersMisplaced>[0]): void => {
  const message = foldersMisplaced(chosen);
  if (message === undefined) return;
  throw new LoopsyError('invalid_request', {
    message,
    hint: 'grant observe or collaborate with folders',
    details: { field: 'folders' },
  });
};

/**
 * The folders that a grant opens: those that it lists, and below `full` no others. Undefined: as the config says.
 */
export const foldersOf = ({ level, folders }: Pick<Grant, 'level' | 'folders'>): readonly string[] | undefined =>
  level === 'full' ? folders : (folders ?? []);

/** All of a level, for ever. */
export const grantOfLevel = (level: Grant['level'], reach: Grant['reach'] = []): Grant => ({
  level,
  scopes: [...LEVEL_SCOPES[level]],
  reach,
});

/** Nothing at all: what a revoked or unreadable grant amounts to. */
export const NO_GRANT: Grant = { level: 'observe', scopes: [], reach: [] };

/** True where `after` lacks something that `before` gave. */
export const isNarrower = (before: Grant, after: Grant): boolean => {
  const lostScope = before.scopes.some((scope) => !after.scopes.includes(scope));
  const [had, has] = [foldersOf(before), foldersOf(after)];
  const lostFolder = has !== undefined && (had === undefined || had.some((folder) => !has.includes(folder)));
  const { reach } = after;
  const lostReach = reach !== 'all' && (before.reach === 'all' || before.reach.some((id) => !reach.includes(id)));
  const endsSooner = (after.expiresAt ?? Number.POSITIVE_INFINITY) < (before.expiresAt ?? Number.POSITIVE_INFINITY);
  const lowerLevel = LEVEL_SCOPES[after.level].length < LEVEL_SCOPES[before.level].length;
  return lostScope || lostFolder || lostReach || endsSooner || lowerLevel;
};
