import { findNodeProgram } from '../../config/start-node.ts';
import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Check } from '../../protocol/system.ts';
import { VERSION } from '../../protocol/version.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { versionNote, type LocalNode } from '../connect.ts';
import { checkConfig, checkModes, checkUser, passed } from '../local-checks.ts';
import { asError, duration, plain, type Paint } from '../output.ts';
import { bringUp, sameReach } from '../start.ts';

const doctor: Command = async (cli) => {
  const fix = cli.invocation.has('fix');
  const modes = checkModes(cli, fix);
  const checks: Check[] = [];
  const node = await reach(cli, checks, fix);
  // A running node checks itself and its peers; of one that is down this command finds out what it can.
  if (node === undefined) checks.unshift(checkConfig(cli), checkUser(cli), ...modes);
  else checks.push(...withMended((await node.client.call('system.doctor', {})).checks, fix ? modes : []));
  if (cli.out.json) cli.out.document({ checks });
  cli.out.print(...checks.flatMap((check) => checkLines(check, cli.out.paint)), '', summary(checks));
  return checks.some(({ level }) => level === 'error') ? EXIT.failed : EXIT.ok;
};

/** What the node found, but for what this command has mended and knows better. */
const withMended = (found: readonly Check[], mended: readonly Check[]): Check[] => [
  ...found.filter(({ name }) => !mended.some((check) => check.name === name)),
  ...mended,
];

/** The running node; where there is none, a check that says so. */
const reach = async (cli: Cli, checks: Check[], fix: boolean): Promise<LocalNode | undefined> => {
  try {
    const node = await cli.node().catch(async (thrown: unknown) => {
      if (!fix || asError(thrown).error !== 'node_not_running') throw thrown;
      await bringUp(cli, sameReach(cli));
      return cli.node();
    });
    const { port, pid, reach } = node.registration;
    const where = {
      lan: ' on every address, as it was started',
      'local-only': ' on this machine only, as it was started',
    };
    const detail = `${node.health.version}, up for ${duration(node.health.uptime)} on port ${port}${reach === undefined ? '' : where[reach]} (pid ${pid})`;
    checks.push(passed('node', detail), ...checkVersion(node));
    return node;
  } catch (thrown) {
    const { message, hint } = asError(thrown);
    checks.push({
      name: 'node',
      ok: false,
      level: 'error',
      detail: message,
      ...(hint === undefined ? {} : { fix: hint }),
    });
    return undefined;
  }
};

/** After an update, the node that runs is still the old one. */
const checkVersion = ({ health, registration }: LocalNode): Check[] => {
  const own = ownProgram();
  const isOther = own !== undefined && own !== registration.program;
  const detail =
    versionNote(health.version) ??
    (isOther ? `the node runs from another installation than this command: ${registration.program}` : undefined);
  if (detail === undefined) return [passed('version', `${VERSION}, as this command`)];
  const fix = '`loopsy restart` runs the node of this installation';
  return [{ name: 'version', ok: true, level: 'warning', detail, fix }];
};

/** Undefined where this command is run from its sources. */
const ownProgram = (): string | undefined => {
  try {
    return findNodeProgram();
  } catch (thrown) {
    if (thrown instanceof LoopsyError) return undefined;
    throw thrown;
  }
};

const checkLines = ({ name, level, detail, fix }: Check, paint: Paint): string[] => {
  const mark = { ok: paint.green('✓'), warning: paint.yellow('!'), error: paint.red('✗') }[level];
  return [
    `${mark} ${paint.bold(plain(name))}: ${plain(detail)}`,
    ...(fix === undefined || level === 'ok' ? [] : [`    ${paint.dim(plain(fix))}`]),
  ];
};

const summary = (checks: readonly Check[]): string => {
  const count = (level: Check['level']): number => checks.filter((check) => check.level === level).length;
  if (count('error') > 0) return `${count('error')} of ${checks.length} checks failed.`;
  return count('warning') > 0 ? `All works; ${count('warning')} to look at.` : 'All is well.';
};

export const commands: Commands = { doctor };
