import { LoopsyError } from '../../protocol/errors.ts';
import { addressOf, addressParts } from '../../protocol/mail.ts';
import type { Message } from '../../protocol/messages.ts';
import type { ToWall } from '../../store/wall-time.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { decideReach } from '../../trust/grants.ts';
import type { Target } from '../edge/parts.ts';
import type { MessageHead, StoredMessage } from './record.ts';

/** Who reads and writes mail: a person, or what has a label. */
export interface Reader {
  readonly caller: Caller;
  /** The label that it acts under. */
  readonly label: string | undefined;
}

/** Who a caller is for mail. @throws {LoopsyError} `scope_missing` where it acts under a label that is not its own. */
export const readerOf = (caller: Caller, as: string | undefined): Reader => {
  if (caller.kind === 'owner') return { caller, label: as };
  const label = caller.kind === 'agent' ? caller.label : undefined;
  if (as === undefined || as === label) return { caller, label };
  throw new LoopsyError('scope_missing', { message: `${callerName(caller)} may not act as ${as}` });
};

/** @throws {LoopsyError} `scope_missing` for all but the owner and agents: an inbox is for them alone. */
export const needInbox = ({ caller }: Reader): void => {
  if (caller.kind === 'owner' || caller.kind === 'agent') return;
  throw new LoopsyError('scope_missing', {
    message: `${callerName(caller)} may send messages; the inbox is for the owner and for agents of this machine`,
  });
};

/** The node that speaks over a link. */
export const peerOf = (caller: Caller): Extract<Caller, { kind: 'peer' }> => {
  if (caller.kind === 'peer') return caller;
  // The table lets nobody else in.
  throw new LoopsyError('scope_missing');
};

/** May this reader take it? What is for a label is for that label alone. */
export const mayTake = ({ label }: Reader, { toAgent }: Pick<MessageHead, 'toAgent'>): boolean =>
  toAgent === undefined || toAgent === label;

/** May this reader see it? The owner without a label sees all. */
export const maySeeMessage = (reader: Reader, head: MessageHead): boolean => {
  const { caller, label } = reader;
  if (head.box === 'out')
    return caller.kind === 'owner'
      ? label === undefined || head.fromAgent === label
      : head.caller === callerName(caller);
  if (caller.kind !== 'owner' && caller.kind !== 'agent') return false;
  return (caller.kind === 'owner' && label === undefined) || mayTake(reader, head);
};

/** How one sees who has taken something. */
export const readerName = ({ caller, label }: Reader): string => label ?? callerName(caller);

/** How names of nodes are found, and what they are called here. */
export interface Names {
  readonly nodeId: string;
  /** What this machine is called. */
  readonly own: () => string;
  readonly nameOf: (nodeId: string) => string | undefined;
  /** Undefined: this node. @throws {LoopsyError} `peer_not_found` with the known ones. */
  readonly resolve: (name: string) => Target | undefined;
}

/** The end of a message: a node, and a label there. */
export interface Place {
  readonly nodeId: string;
  readonly agent: string | undefined;
}

/** Where an address leads. @throws {LoopsyError} `peer_not_found`, with the known ones. */
export const placeOf = (address: string, names: Names): Place => {
  const { node, agent } = addressParts(address);
  const target = node === '' ? undefined : names.resolve(node);
  return { nodeId: target?.nodeId ?? names.nodeId, agent };
};

/** @throws {LoopsyError} `scope_missing` where the caller may not address that node. */
export const needReach = (caller: Caller, nodeId: string): void => {
  const decision = decideReach(caller, { machineId: nodeId, nodeId });
  if (!decision.allowed) throw new LoopsyError(decision.error, { message: decision.message });
};

/** A message as its reader sees it. `toWall` makes wall time of the store's. */
export const shownMessage = (
  { head, json }: StoredMessage,
  { names, toWall }: { readonly names: Names; readonly toWall: ToWall },
): Message => {
  const { id, box, nodeId, fromAgent, by, toAgent, ts, type, thread, replyTo, hops, state, history, reader } = head;
  const here = { nodeId: names.nodeId, name: names.own() };
  const there = nodeId === here.nodeId ? here : { nodeId, name: names.nameOf(nodeId) ?? nodeId };
  const [from, to] = box === 'in' ? [there, here] : [here, there];
  return {
    id,
    box: box === 'in' ? 'inbox' : 'outbox',
    from: addressOf(from.name, fromAgent),
    fromNodeId: from.nodeId,
    by,
    to: addressOf(to.name, toAgent),
    toNodeId: to.nodeId,
    ts,
    type,
    body: String(JSON.parse(json)),
    bodyGone: head.isCut,
    thread,
    replyTo,
    hops,
    expiresAt: toWall(head.dueAt),
    state,
    history: [...history],
    reader,
  };
};
