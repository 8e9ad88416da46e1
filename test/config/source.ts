import { join } from 'node:path';

import type { ConfigSource } from '../../src/config/load.ts';
import { nodePaths } from '../../src/config/paths.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';

/** A valid owner's key. */
export const API_KEY = 'a'.repeat(64);

/** The smallest settings file. */
export const MINIMAL = `version: 2\nauth:\n  apiKey: ${API_KEY}\n`;

/** What settings are read with: a made-up home, so that no test depends on the machine. */
export const sourceIn = (dataDir: string): ConfigSource => ({
  paths: nodePaths(dataDir),
  home: join('/', 'home', 'kai'),
  hostname: 'kais-laptop',
  platform: 'linux',
});

/** The error that `work` throws. */
export const errorOf = async (work: () => unknown): Promise<LoopsyError> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof LoopsyError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};
