import { existsSync } from 'node:fs';

import { EXIT } from '../../protocol/errors.ts';
import type { Command, Commands } from '../cli.ts';
import { versionNote } from '../connect.ts';
import { nextStep } from '../next-step.ts';
import { plain } from '../output.ts';
import { bringUp } from '../start.ts';
import { sayRoot, setUp } from './init.ts';
import { statusLines } from './status.ts';

/** From nothing to a node that answers; where it is there already, nothing but the state is said. */
const up: Command = async (cli) => {
  const { out, paths } = cli;
  const created = !existsSync(paths.config) && (await setUp(cli)).created;
  if (created) out.print(`${out.paint.green('✓')} Set up in ${plain(paths.dataDir)}.`);
  if (created) sayRoot(cli);
  const { node, wasUp, otherProgram } = await bringUp(cli);
  const status = await node.client.call('system.status', {});
  const skew = versionNote(node.health.version);
  if (skew !== undefined) out.note(skew);
  if (otherProgram !== undefined) out.note(`it runs from another installation: ${plain(otherProgram)}`);
  if (out.json) out.document({ created, started: !wasUp, status });
  out.print(
    `${out.paint.green('✓')} ${wasUp ? 'Was running already.' : 'Started.'}`,
    ...statusLines(status, out.paint),
    '',
    nextStep(status),
  );
  return EXIT.ok;
};

export const commands: Commands = { up };
