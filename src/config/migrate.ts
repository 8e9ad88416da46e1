import { LoopsyError } from '../protocol/errors.ts';
import { CONFIG_VERSION } from './schema.ts';

/** True for the settings of loopsy 1, which had no version. */
export const isPredecessor = (settings: Readonly<Record<string, unknown>>): boolean =>
  settings['version'] === undefined;

/**
 * Refuses a settings file of another version. Version 2 is the first of this loopsy: there is nothing to migrate yet;
 * the next version adds its step here.
 * @throws {LoopsyError} `config_invalid`, which says what to do.
 */
export const checkVersion = (settings: Readonly<Record<string, unknown>>, file: string): void => {
  const { version } = settings;
  if (version === CONFIG_VERSION) return;
  if (isPredecessor(settings)) {
    throw new LoopsyError('config_invalid', {
      message: `${file} has no "version: ${CONFIG_VERSION}": it is a settings file of loopsy 1`,
      hint: '`loopsy init --import` takes its settings over, but no key and no trust, and keeps a copy of it',
      details: { file, predecessor: true },
    });
  }
  throw new LoopsyError('config_invalid', {
    message: `${file} has version ${JSON.stringify(version)}; this loopsy reads version ${CONFIG_VERSION}`,
    hint: 'update loopsy, or write `version: 2` where you wrote the file by hand',
    details: { file, key: 'version' },
  });
};
