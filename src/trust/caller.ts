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
