import type { Grant } from '../protocol/grants.ts';
import { callerName, type Caller } from './caller.ts';
import { isNarrower } from './grants.ts';
import type { TrustState } from './trust-state.ts';

/** What changed for a caller. `narrowed` is anything taken away. */
export interface TrustChange {
  readonly what: 'added' | 'removed' | 'narrowed' | 'widened' | 'expired' | 'renamed';
  /** `peer:<machineId>`, `key:<name>`, or `agent` for all agents of this machine. */
  readonly caller: string;
  readonly name: string;
}

/** True where a change is about this caller. */
export const isTouched = (caller: Caller, change: TrustChange): boolean =>
  caller.kind === 'agent' ? change.caller === 'agent' : change.caller === callerName(caller);

interface Subject {
  readonly name: string;
  /** Another secret under the same name is another caller. */
  readonly secret: string;
  readonly grant: Grant;
}

const subjectsOf = (state: TrustState): Map<string, Subject> =>
  new Map<string, Subject>([
    ...[...state.machines.values()].map((one): [string, Subject] => [
      `peer:${one.machineId}`,
      { name: one.name, secret: one.spkiHash, grant: one.grant },
    ]),
    ...[...state.keys.values()].map((one): [string, Subject] => [
      `key:${one.name}`,
      { name: one.name, secret: one.keyHash, grant: one.grant },
    ]),
    ['agent', { name: 'agent', secret: '', grant: state.agentGrant }],
  ]);

const sameGrant = (one: Grant, other: Grant): boolean => JSON.stringify(one) === JSON.stringify(other);

const changesOf = (before: Subject, after: Subject): TrustChange['what'][] => {
  const found: TrustChange['what'][] = before.name === after.name ? [] : ['renamed'];
  if (isNarrower(before.grant, after.grant)) return [...found, 'narrowed'];
  return sameGrant(before.grant, after.grant) ? found : [...found, 'widened'];
};

/** What a caller has to be told, or be cut off for, between two states. */
export const diffStates = (before: TrustState, after: TrustState): TrustChange[] => {
  const [old, fresh] = [subjectsOf(before), subjectsOf(after)];
  const changes: TrustChange[] = [];
  for (const [caller, subject] of old) {
    const now = fresh.get(caller);
    if (now === undefined || now.secret !== subject.secret)
      changes.push({ what: 'removed', caller, name: subject.name });
    else changes.push(...changesOf(subject, now).map((what) => ({ what, caller, name: now.name })));
  }
  for (const [caller, { name, secret }] of fresh) {
    if (old.get(caller)?.secret !== secret) changes.push({ what: 'added', caller, name });
  }
  return changes;
};

/** Callers whose grant ended after `since` and up to `now` (ms since 1970), and when the next one ends. */
export const expiriesOf = (state: TrustState, since: number, now: number): { ended: TrustChange[]; nextAt: number } => {
  const ended: TrustChange[] = [];
  let nextAt = Number.POSITIVE_INFINITY;
  for (const [caller, { name, grant }] of subjectsOf(state)) {
    const { expiresAt } = grant;
    if (expiresAt === undefined) continue;
    if (expiresAt > now) nextAt = Math.min(nextAt, expiresAt);
    else if (expiresAt > since) ended.push({ what: 'expired', caller, name });
  }
  return { ended, nextAt };
};
