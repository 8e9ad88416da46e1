import { onTestFinished } from 'vitest';

import type { Handlers } from '../../../src/daemon/edge/call.ts';
import { EffectTable } from '../../../src/daemon/edge/effects.ts';
import { OpenRequests } from '../../../src/daemon/edge/open-requests.ts';
import type { EdgeParts, Target } from '../../../src/daemon/edge/parts.ts';
import { createRouter } from '../../../src/daemon/edge/router.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import type { AuditRecord } from '../../../src/protocol/audit.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { type Answer, ask, type Asking } from '../../helpers/ask.ts';
import { listen, silentLog } from './listening.ts';

/** A peer that the desk knows. */
export const KAI: Target = { nodeId: 'k'.repeat(32), name: 'kai' };
export const MARIA: Target = { nodeId: 'm'.repeat(32), name: 'maria' };
/** What the desk's node is called. */
export const OWN_NAME = 'localhost';

/** Who holds which token; what is changed here counts from the next look on. */
const callersOf = (): Map<string, Caller> =>
  new Map<string, Caller>([
    ['owner', { kind: 'owner' }],
    ['full', { kind: 'key', name: 'full', grant: { level: 'full', scopes: SCOPES, reach: [] } }],
    ['to-kai', { kind: 'key', name: 'to-kai', grant: { level: 'full', scopes: SCOPES, reach: [KAI.nodeId] } }],
    ['far', { kind: 'key', name: 'far', grant: { level: 'full', scopes: SCOPES, reach: 'all' } }],
  ]);

const SCOPES: ('exec' | 'files:read' | 'files:write' | 'status')[] = ['exec', 'files:read', 'files:write', 'status'];

/** The edge of a node whose handlers a test has made. */
export interface EdgeDesk {
  readonly port: number;
  readonly parts: EdgeParts;
  readonly callers: Map<string, Caller>;
  readonly recorded: AuditRecord[];
  ask(asking: Asking): Promise<Answer>;
}

const resolve = (reference: string): Target | undefined => {
  if (reference === OWN_NAME) return undefined;
  const found = [KAI, MARIA].find(({ name, nodeId }) => name === reference || nodeId === reference);
  if (found !== undefined) return found;
  throw new LoopsyError('peer_not_found', { details: { known: [KAI.name, MARIA.name] } });
};

const missing = (): never => {
  throw new LoopsyError('internal', { message: 'nothing is forwarded here' });
};

/** Opens it on a port of its own, until the test is over. */
export const openEdge = async (handlers: Partial<Handlers>, more: Partial<EdgeParts> = {}): Promise<EdgeDesk> => {
  const callers = callersOf();
  const recorded: AuditRecord[] = [];
  const parts: EdgeParts = {
    // What a test asks for is there.
    handlers: handlers as Handlers,
    sources: {
      certificate: () => callers.get('peer') ?? 'invalid_key',
      token: (token) => callers.get(token) ?? 'invalid_key',
      plainAllowed: () => false,
    },
    forwarder: { resolve, locate: () => undefined, json: missing, stream: missing, bytes: missing },
    owners: { record: () => undefined, keep: async () => undefined, maySee: ({ kind }) => kind === 'owner' },
    rates: { take: () => undefined },
    audit: { record: (record) => void recorded.push(record), flush: async () => undefined },
    effects: new EffectTable(systemClock),
    open: new OpenRequests(),
    boot: 'b'.repeat(16),
    nodeId: 'n'.repeat(32),
    prove: () => undefined,
    clock: systemClock,
    log: silentLog,
    ...more,
  };
  const { listener, port } = await listen({}, createRouter(parts));
  onTestFinished(() => void listener.destroySockets(() => true));
  return { port, parts, callers, recorded, ask: (asking) => ask(port, asking) };
};
