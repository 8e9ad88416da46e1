import { access, constants } from 'node:fs/promises';

import { errorCode } from '../kernel/atomic-file.ts';
import type { NodePaths } from './paths.ts';

/**
 * Makes sure that this user may use what is in the data folder: a database would only say that it can't be opened.
 * @throws the system's error, with the file that is in the way.
 */
export const checkAccess = async (paths: NodePaths): Promise<void> => {
  const { config, database, trustDatabase, nodeLock, registration, agentFile, certificate, privateKey } = paths;
  const files = [config, database, trustDatabase, nodeLock, registration, agentFile, certificate, privateKey];
  const folders = [paths.jobsDir, paths.supervisorsDir, paths.logsDir, paths.tlsDir];
  for (const path of [...folders, ...files]) {
    try {
      await access(path, constants.R_OK | constants.W_OK);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
};
