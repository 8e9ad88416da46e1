import type { Grant } from '../protocol/grants.ts';

/** Who asks: decided for each request from its connection, never from a header that the caller chooses. */
export type Caller =
  | { readonly kind: 'stranger' }
  | { readonly kind: 'owner' }
  | { readonly kind: 'agent-secret' }
  | { readonly kind: 'agent'; readonly label: string; readonly grant: Grant }
  | { readonly kind: 'key'; readonly name: string; readonly grant: Grant }
  | {
      readonly kind: 'peer';
      /** The pinned machine: grants, limits and ownership are its. */
      readonly machineId: string;
      /** The node that speaks: the machine's own, or one of its sessions. */
      readonly nodeId: string;
      readonly grant: Grant;
    };

/** One stable word for audit records and for who owns an object: `owner`, `agent:claude`, `key:ci`, `peer:<id>`. */
export const callerName = (caller: Caller): string => {
  switch (caller.kind) {
    case 'stranger':
    case 'owner':
    case 'agent-secret':
      return caller.kind;
    case 'agent':
      return `agent:${caller.label}`;
    case 'key':
      return `key:${caller.name}`;
    case 'peer':
      return `peer:${caller.machineId}`;
  }
};

/** What callers of this machine are granted at a moment. */
interface LocalGrants {
  readonly agentGrant: Grant;
  readonly keys: readonly { readonly name: string; readonly grant: Grant }[];
}

/** Who a stored name (`callerName`) is by what holds now; undefined for who is nobody here any more, and for peers. */
export const storedCaller = (name: string, { agentGrant, keys }: LocalGrants): Caller | undefined => {
  const [kind, ...rest] = name.split(':');
  const called = rest.join(':');
  if (name === 'owner') return { kind: 'owner' };
  if (kind === 'agent') return { kind, label: called, grant: agentGrant };
  const key = kind === 'key' ? keys.find((known) => known.name === called) : undefined;
  return key === undefined ? undefined : { kind: 'key', name: called, grant: key.grant };
};
