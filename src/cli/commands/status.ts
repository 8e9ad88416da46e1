import { existsSync } from 'node:fs';

import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Status } from '../../protocol/system.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { nextStep } from '../next-step.ts';
import { duration, facts, grouped, plain, size, type Paint } from '../output.ts';

const status: Command = async (cli) => {
  const { out } = cli;
  const { client } = await cli.node();
  const answer = await client.call('system.status', {});
  if (out.json) out.document(answer);
  out.print(...statusLines(answer, out.paint));
  return EXIT.ok;
};

/** The state of a running node, for people. */
export const statusLines = (node: Status, paint: Paint): string[] => [
  `${paint.green('●')} ${paint.bold(plain(node.hostname))} is up for ${duration(node.uptime)} (loopsy ${plain(node.version)}, pid ${node.pid})`,
  ...facts(
    [
      ['address', addressOf(node)],
      ['node', node.nodeId],
      ['fingerprint', grouped(node.fingerprint)],
      ['peers', peersOf(node)],
      ['jobs', jobsOf(node)],
      ...(node.context === undefined ? [] : [['context', entriesOf(node.context.entries)] as const]),
      ...(node.messages === undefined ? [] : [['messages', unreadOf(node.messages.unread)] as const]),
      ['memory', size(node.memory.rss)],
      ['data', `${plain(node.dataDir)} (user ${plain(node.user)})`],
    ],
    paint,
  ),
  ...(node.restartNeeded.length === 0
    ? []
    : [paint.yellow(`restart needed for ${node.restartNeeded.map(plain).join(', ')}: \`loopsy restart\``)]),
  ...node.warnings.map((warning) => paint.yellow(`! ${plain(warning)}`)),
];

const SHOWN_ADDRESSES = 3;

/** What is typed on another machine, where that leads here. */
const addressOf = ({ addresses, listening }: Status): string =>
  addresses.length > 0
    ? addresses.slice(0, SHOWN_ADDRESSES).map(plain).join(', ')
    : `${listening.map(plain).join(', ')} (no other machine can reach it there)`;

const peersOf = ({ peers }: Status): string =>
  peers.total === 0 ? 'none yet' : `${peers.online} of ${peers.total} online`;

const unreadOf = (unread: number): string => (unread === 0 ? 'none unread' : `${unread} unread`);

const entriesOf = (entries: number): string => (entries === 1 ? '1 entry' : `${entries} entries`);

const jobsOf = ({ jobs }: Status): string =>
  `${jobs.active} running${jobs.queued === 0 ? '' : `, ${jobs.queued} waiting`}${jobs.detached > 0 ? ` (${jobs.detached} detached)` : ''}, ${jobs.total} in all`;

/** `loopsy` alone: the state in five lines, the last of which is the next step. */
const overview: Command = async (cli) => {
  if (cli.out.json) return status(cli);
  try {
    const { client } = await cli.node();
    const node = await client.call('system.status', {});
    cli.out.print(
      `${cli.out.paint.green('●')} ${cli.out.paint.bold(plain(node.hostname))} is up for ${duration(node.uptime)}, loopsy ${plain(node.version)}`,
      `  peers    ${peersOf(node)}`,
      `  jobs     ${jobsOf(node)}`,
      `  address  ${addressOf(node)}`,
      nextStep(node),
    );
  } catch (thrown) {
    if (!(thrown instanceof LoopsyError) || thrown.error !== 'node_not_running') throw thrown;
    sayDown(cli, thrown);
  }
  return EXIT.ok;
};

const sayDown = ({ out, paths }: Cli, error: LoopsyError): void => {
  const isSetUp = existsSync(paths.config);
  out.print(
    `${out.paint.dim('○')} ${plain(isSetUp ? error.message : 'loopsy is not set up here yet')}`,
    '  peers    -',
    '  jobs     -',
    `  data     ${plain(paths.dataDir)}`,
    isSetUp ? 'Next: `loopsy start`.' : 'Next: `loopsy up` sets it up and starts it.',
  );
};

export const commands: Commands = { overview, status };
