import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import type { ExecuteInput } from '../../protocol/jobs.ts';
import type { Store } from '../../store/store.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import type { Variables } from '../process/environment.ts';
import type { LoginPath } from '../process/login-path.ts';
import type { SpoolOptions } from '../process/spool.ts';

/** Live settings: asked for at each use. */
export interface JobSettings {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  readonly defaultTimeoutMs: number;
  /** The window of each run's output on disk. */
  readonly maxOutputBytes: number;
  readonly keepDays: number;
  /** `execution.env`; the same object while it has not changed. */
  readonly env: Variables;
}

/** What jobs are made of. */
export interface JobsOptions {
  readonly store: Store;
  /** The folder of all output. */
  readonly dir: string;
  /** Where the supervisors of detached runs say how they are found. */
  readonly supervisorsDir: string;
  readonly settings: () => JobSettings;
  /** Gets a line for a shell whole, without further words. @throws {LoopsyError} command_denied */
  readonly guardCommand: (input: ExecuteInput) => AllowedCommand;
  readonly clock: Clock;
  readonly log: Log;
  readonly facts: () => {
    readonly host: string;
    readonly nodeId: string;
    readonly user: string;
    readonly home: string;
  };
  readonly platform: NodeJS.Platform;
  /** The node's own environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The user's login shell. */
  readonly shell?: string;
  /** Default: the login shell is asked. */
  readonly loginPath?: LoginPath;
  /** Makes the files of output; default: on disk. */
  readonly createSegment?: SpoolOptions['createSegment'];
}
