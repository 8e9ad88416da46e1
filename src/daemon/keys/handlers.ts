import type { HandlersOf } from '../edge/call.ts';
import type { Keys } from './service.ts';

/** The operations on keys, and the one by which an agent process gets its token. */
export const keyHandlers = (keys: Keys): HandlersOf<'key'> & HandlersOf<'agent'> => ({
  'key.show': () => keys.show(),
  'key.generate': () => keys.generate(),
  'key.list': () => keys.list(),
  'key.add': ({ name, grant }) => keys.add(name, grant),
  'key.grant': ({ name, ...grant }) => keys.grant(name, grant),
  'key.revoke': ({ name }) => keys.revoke(name),
  'agent.connect': ({ label }) => keys.connectAgent(label),
});
