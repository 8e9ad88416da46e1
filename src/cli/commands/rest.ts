import type { Commands } from '../cli.ts';
import { commands as completion } from './completion.ts';
import { commands as connect } from './connect.ts';
import { commands as context } from './context.ts';
import { commands as doctor } from './doctor.ts';
import { commands as events } from './events.ts';
import { commands as init } from './init.ts';
import { commands as jobs } from './jobs.ts';
import { commands as keys } from './keys.ts';
import { commands as logs } from './logs.ts';
import { commands as leases } from './leases.ts';
import { commands as ls } from './ls.ts';
import { commands as messages } from './messages.ts';
import { commands as node } from './node.ts';
import { commands as pair } from './pair.ts';
import { commands as peers } from './peers.ts';
import { commands as selftest } from './selftest.ts';
import { commands as send } from './send.ts';
import { commands as transfers } from './transfers.ts';
import { commands as uninstall } from './uninstall.ts';
import { commands as up } from './up.ts';

export { execMany } from '../exec-many.ts';
export { commandHelp, groupHelp, overallHelp } from '../help.ts';

/** All but the two commands that scripts call most: one file to load for them, and none of it for those two. */
export const commands: Commands = {
  ...init,
  ...node,
  ...doctor,
  ...connect,
  ...pair,
  ...peers,
  ...jobs,
  ...send,
  ...ls,
  ...transfers,
  ...context,
  ...leases,
  ...messages,
  ...keys,
  ...events,
  ...logs,
  ...up,
  ...selftest,
  ...completion,
  ...uninstall,
};
