import type { Call } from '../edge/call.ts';
import type { Author } from './record.ts';

const AGENT = 'agent:';

/** Who writes: the node by its link; the agent or key by its token here, or as its own node says. */
export const authorOf = ({ caller, onBehalfOf }: Pick<Call, 'caller' | 'onBehalfOf'>, here: string): Author => {
  switch (caller.kind) {
    case 'peer':
      return {
        fromNodeId: caller.nodeId,
        ...(onBehalfOf?.startsWith(AGENT) === true ? { agent: labelIn(onBehalfOf) } : {}),
      };
    case 'agent':
      return { fromNodeId: here, agent: caller.label };
    case 'key':
      return { fromNodeId: here, agent: `key:${caller.name}` };
    default:
      return { fromNodeId: here };
  }
};

const labelIn = (name: string): string => name.slice(AGENT.length, AGENT.length + 100);
