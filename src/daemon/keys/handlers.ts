import { pageOf } from '../../kernel/page.ts';
import type { KeyRow } from '../../protocol/keys.ts';
import type { HandlersOf } from '../edge/call.ts';
import type { Keys } from './service.ts';

/** The agents of this machine stand first, then keys by name. */
const placeOf = ({ kind, name }: KeyRow): string => `${kind === 'agent' ? 0 : 1}${name}`;

/** The operations on keys, and the one by which an agent process gets its token. */
export const keyHandlers = (keys: Keys): HandlersOf<'key'> & HandlersOf<'agent'> => ({
  'key.show': () => keys.show(),
  'key.generate': (_, call) => keys.generate(call),
  'key.list': (input) => {
    const { items, next } = pageOf(keys.list(), placeOf, input);
    return { keys: items, ...next };
  },
  'key.add': ({ name, grant }) => keys.add(name, grant),
  'key.grant': ({ name, ...grant }) => keys.grant(name, grant),
  'key.revoke': ({ name }) => keys.revoke(name),
  'agent.connect': ({ label }) => keys.connectAgent(label),
});
