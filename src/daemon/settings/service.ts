import type { Config } from '../../config/schema.ts';
import type { ConfigStore } from '../../config/store.ts';
import type { HandlersOf } from '../edge/call.ts';

const HIDDEN = '(hidden)';

/** The configuration in force, without its secrets. */
const shown = (config: Config): Record<string, unknown> => ({
  ...config,
  auth: {
    apiKey: HIDDEN,
    allowedKeys: Object.fromEntries(Object.keys(config.auth.allowedKeys).map((name) => [name, HIDDEN])),
  },
  // What a person gives to runs may be secret too.
  execution: {
    ...config.execution,
    env: Object.fromEntries(Object.keys(config.execution.env).map((name) => [name, HIDDEN])),
  },
});

/** Reading and changing the configuration. */
export const settingsHandlers = (store: ConfigStore): HandlersOf<'config'> => {
  const answer = (): { file: string; config: Record<string, unknown>; restartNeeded: string[] } => ({
    file: store.file,
    config: shown(store.current),
    restartNeeded: store.restartNeeded,
  });
  return {
    'config.get': answer,
    'config.change': async ({ changes }) => {
      await store.change(changes);
      return answer();
    },
  };
};
