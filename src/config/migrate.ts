import { LoopsyError } from '../protocol/errors.ts';
import { CONFIG_VERSION } from './schema.ts';

/**
 * Refuses a settings file of another version. Version 2 is the first of this loopsy: there is nothing to migrate yet;
 * the next version adds its step here.
 * @throws {LoopsyError} `config_invalid`, which says what to do.
 */
export const checkVersion = (version: unknown, file: string): void => {
  if (version === CONFIG_VERSION) return;
  if (version === undefined) {
    throw new LoopsyError('config_invalid', {
      message: `${file} has no "version: ${CONFIG_VERSION}": it is a settings file of loopsy 1`,
      hint: 'move config.yaml away, then `loopsy init`; nothing of it is taken over',
      details: { file, predecessor: true },
    });
  }
  throw new LoopsyError('config_invalid', {
    message: `${file} has version ${JSON.stringify(version)}; this loopsy reads version ${CONFIG_VERSION}`,
    hint: 'update loopsy, or write `version: 2` where you wrote the file by hand',
    details: { file, key: 'version' },
  });
};
