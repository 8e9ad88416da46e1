import { EXIT } from '../../protocol/errors.ts';
import { LEVELS, type Level } from '../../protocol/scopes.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import { askPerson, type Ask } from '../ask.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { levelWords } from '../grant-options.ts';
import { plain } from '../output.ts';
import { showDigits, showInvitation } from '../pairing-texts.ts';
import { followPairing, type PairRun } from '../pairing.ts';
import { usageError } from '../parse.ts';
import { typedAddress } from '../values.ts';

const pair: Command = async (cli) => {
  const { invocation } = cli;
  const [address] = invocation.args;
  const code = invocation.value('code');
  if (address === undefined && code === undefined) return host(cli);
  if (!invocation.has('invite')) return join(cli, address, code);
  throw usageError(
    '--invite shows an invitation; an address or a --code enters one',
    'run one of them on each machine',
  );
};

/** Shows a code and waits. */
const host = async (cli: Cli): Promise<number> => {
  const { invocation, out } = cli;
  const isInvitation = invocation.has('invite');
  const choices = choicesOf(cli);
  const ask = await answerer(cli, isInvitation);
  const node = await cli.node();
  const words = await wordsOf(cli, node);
  const started = await node.client.call('pair.start', { ...(isInvitation ? { invite: true } : {}), ...choices });
  const { inviteCode, expiresAt, addresses } = started;
  if (out.json) out.document(started);
  const [first = '<this machine>', ...others] = addresses.map((one) => plain(short(one)));
  const line = isInvitation ? `loopsy pair ${first} --code <invitation>` : `loopsy pair ${first}`;
  if (addresses.length === 0)
    out.note(
      '! No other machine can reach this node where it listens now: `loopsy stop`, then `loopsy start --lan`, opens it.',
    );
  out.print(isInvitation ? 'The invitation, for one machine:' : 'The code, for one machine:');
  if (isInvitation) await showInvitation(cli, inviteCode);
  else showDigits(cli, inviteCode);
  out.print(
    `On the other machine: ${out.paint.bold(line)}`,
    ...(others.length === 0 ? [] : [out.paint.dim(`(this machine also has ${others.slice(0, 3).join(', ')})`)]),
    isInvitation ? `Whoever enters it ${words}.` : 'Then both screens show a number: compare it, and say yes on both.',
    out.paint.dim(`Waiting for ${Math.round((expiresAt - cli.io.clock.now()) / 60_000)} minutes; Ctrl-C ends it.`),
  );
  return followPairing({ cli, node, role: 'host', ask, choices, words, standingYes: isInvitation, code: inviteCode });
};

const short = (address: string): string => address.replace(new RegExp(`:${DEFAULT_PORT}$`), '');

/** Enters a code. */
const join = async (cli: Cli, address: string | undefined, given: string | undefined): Promise<number> => {
  const at = address === undefined ? {} : typedAddress(address);
  const choices = choicesOf(cli);
  const ask = await answerer(cli, false);
  if (given === undefined && ask === undefined) throw usageError('"loopsy pair --yes" with an address needs --code');
  const node = await cli.node();
  const code = given ?? (await ask?.text('The code that the other machine shows', 'six digits'));
  if (code === undefined) return left(cli);
  const words = await wordsOf(cli, node);
  await node.client.call('pair.join', { ...at, code, ...choices });
  const run: PairRun = { cli, node, role: 'joiner', ask, choices, words, standingYes: false, code: code.trim() };
  return followPairing(run);
};

/** Who says yes at this side; undefined: it was said with the command. */
const answerer = async ({ invocation, out, io }: Cli, isInvitation: boolean): Promise<Ask | undefined> => {
  if (invocation.has('yes') || isInvitation) return undefined;
  const ask = out.json ? undefined : await askPerson(io);
  if (ask !== undefined) return ask;
  throw usageError(
    '`loopsy pair` asks before it trusts, and nobody can answer here',
    'in a script: `loopsy pair --invite` on one machine, `loopsy pair <address> --code <invitation> --yes` on the other',
  );
};

const choicesOf = ({ invocation }: Cli): PairRun['choices'] => {
  const name = invocation.value('name');
  const grant = invocation.value('grant');
  return { ...(name === undefined ? {} : { name }), ...(grant === undefined ? {} : { grant: levelOf(grant) }) };
};

const levelOf = (text: string): Level => {
  const level = LEVELS.find((one) => one === text);
  if (level !== undefined) return level;
  throw usageError(`"${text}" is no level`, `use ${LEVELS.join(', ')}`);
};

/** What the other machine will be able to do here: `may …`. */
const wordsOf = async (cli: Cli, node: LocalNode): Promise<string> => {
  const { user } = await node.client.call('system.status', {});
  return levelWords(choicesOf(cli).grant ?? 'full', plain(user));
};

const left = ({ out }: Cli): number => {
  out.print('Nothing was changed.');
  return EXIT.failed;
};

export const commands: Commands = { pair };
