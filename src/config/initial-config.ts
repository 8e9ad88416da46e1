import { ensurePrivateDir, readTextFile, writeFileAtomic } from '../kernel/atomic-file.ts';
import type { Clock } from '../kernel/clock.ts';
import { withFileLock } from '../kernel/file-lock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { NodePaths } from './paths.ts';

/** What a first settings file holds. */
export interface InitialConfig {
  /** The owner's key: 64 hex digits. */
  readonly apiKey: string;
  /** Written where it isn't the usual one. */
  readonly port?: number;
}

/** The text of a first settings file. */
export const renderInitialConfig = ({ apiKey, port }: InitialConfig): string => `\
# The settings of this machine's loopsy node. Changes act as soon as the file is saved, except where it says
# (restart). What isn't here has its default. The file holds the owner's key: keep it to yourself.
version: 2

auth:
  # The owner's key: whoever has it rules this node. \`loopsy key generate\` replaces it.
  apiKey: "${apiKey}"
${port === undefined ? '' : `\nserver:\n  port: ${port} # (restart)\n`}
# Some of what can be set, with the defaults:
#
# server:
#   port: 19532                # (restart)
#   host: 0.0.0.0              # (restart) 127.0.0.1: this machine alone
#   hostname: my-laptop        # the machine's name
#
# execution:
#   denylist: [rm, rmdir, format, mkfs, dd, shutdown, reboot]   # a guard against accidents
#   maxConcurrent: 10          # runs at once; the next ones wait
#   defaultTimeout: 300000     # ms
#   env: {}                    # variables for every run
#
# transfer:
#   allowedPaths: ["~"]
#   # deniedPaths: []          # takes the place of the usual list (~/.ssh, ~/.gnupg, ...): name here what of it is to stay
#   maxFileSize: 1073741824    # bytes
#
# logging:
#   level: info                # debug, info, warn, error
`;

/**
 * Writes a first settings file, mode 0600, in a private folder.
 * @throws {LoopsyError} `conflict` where there is one: it is left as it is.
 */
export const writeInitialConfig = async (paths: NodePaths, initial: InitialConfig, clock: Clock): Promise<void> => {
  await ensurePrivateDir(paths.dataDir);
  const write = async (): Promise<void> => {
    if ((await readTextFile(paths.config)) !== undefined) {
      throw new LoopsyError('conflict', {
        message: `there is a ${paths.config} already`,
        hint: 'it was left as it is; `loopsy start` uses it',
        details: { file: paths.config },
      });
    }
    await writeFileAtomic(paths.config, renderInitialConfig(initial));
  };
  await withFileLock(paths.configLock, write, { clock });
};
