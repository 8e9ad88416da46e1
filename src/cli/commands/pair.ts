import { EXIT } from '../../protocol/errors.ts';
import type { OutputOf } from '../../protocol/operations.ts';
import { LEVELS, type Level } from '../../protocol/scopes.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import { askPerson, type Ask } from '../ask.ts';
import type { Cli, Command, Commands, Stdin } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { chosenOptions, levelWords } from '../grant-options.ts';
import { count, plain } from '../output.ts';
import { showDigits, showInvitation } from '../pairing-texts.ts';
import { followPairing, type PairRun } from '../pairing.ts';
import { usageError } from '../parse.ts';
import { typedAddress } from '../values.ts';

type Status = OutputOf<'pair.status'>;

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
  const isInvited = cli.invocation.has('invite');
  const ask = await answerer(cli, isInvited);
  const node = await cli.node();
  const { user, addresses } = await node.client.call('system.status', {});
  const open = await leftOpen(cli, { role: 'host', node, ask });
  const input = { ...(isInvited ? { invite: true } : {}), ...choicesOf(cli) };
  const begun = open ?? (await node.client.call('pair.start', input));
  if (cli.out.json) cli.out.document(begun);
  const { choices, words } = chosenIn(cli, open, user);
  const { id = '', inviteCode: code, expiresAt } = begun;
  if (code !== undefined && expiresAt !== undefined) await show(cli, { code, expiresAt, addresses, words });
  const standingYes = open?.invited ?? isInvited;
  const run: PairRun = { cli, node, role: 'host', id, ask, choices, words, standingYes };
  return followPairing(code === undefined ? run : { ...run, code });
};

interface Shown {
  readonly code: string;
  readonly expiresAt: number;
  readonly addresses: readonly string[];
  readonly words: string;
}

/** The code, and what to do with it. */
const show = async (cli: Cli, { code, expiresAt, addresses, words }: Shown): Promise<void> => {
  const { out, io } = cli;
  const isInvited = !/^\d+$/.test(code);
  if (addresses.length === 0)
    out.note(
      '! No other machine can reach this node where it listens now: `loopsy stop`, then `loopsy start --lan`, opens it.',
    );
  out.print(isInvited ? 'The invitation, for one machine:' : 'The code, for one machine:');
  if (isInvited) await showInvitation(cli, code);
  else showDigits(cli, code);
  const [first = '<this machine>', ...others] = addresses.map((one) => plain(short(one)));
  const minutes = Math.max(1, Math.round((expiresAt - io.clock.now()) / 60_000));
  out.print(
    `On the other machine: ${out.paint.bold(`loopsy pair ${first}${isInvited ? ' --code <invitation>' : ''}`)}`,
    ...(others.length === 0 ? [] : [out.paint.dim(`(this machine also has ${others.slice(0, 3).join(', ')})`)]),
    isInvited ? `Whoever enters it ${words}.` : 'Then both screens show a number: compare it, and say yes on both.',
    out.paint.dim(`Waiting for ${count(minutes, 'minute')}; Ctrl-C ends it.`),
  );
};

const short = (address: string): string => address.replace(new RegExp(`:${DEFAULT_PORT}$`), '');

/** Enters a code. */
const join = async (cli: Cli, address: string | undefined, given: string | undefined): Promise<number> => {
  const at = address === undefined ? {} : typedAddress(address);
  const ask = await answerer(cli, false);
  if (given === undefined && ask === undefined) throw usageError('"loopsy pair --yes" with an address needs --code');
  const node = await cli.node();
  const { user } = await node.client.call('system.status', {});
  const open = await leftOpen(cli, { role: 'joiner', node, ask, at });
  const { choices, words } = chosenIn(cli, open, user);
  const run = { cli, node, role: 'joiner', ask, choices, words, standingYes: false } as const;
  if (open !== undefined) return followPairing({ ...run, id: open.id ?? '' });
  const code = (await codeOf(cli, given)) ?? (await ask?.text('The code that the other machine shows', 'six digits'));
  if (code === undefined) return left(cli);
  const { id } = await node.client.call('pair.join', { ...at, code, ...choices });
  return followPairing({ ...run, id });
};

/** `-`: the first line of stdin, so that an invitation is seen by nobody who lists processes. */
const codeOf = async ({ io }: Cli, given: string | undefined): Promise<string | undefined> => {
  if (given !== '-') return given;
  const line = await firstLine(io.stdin());
  if (line !== '') return line;
  throw usageError(
    '"--code -" reads the code from stdin, and there is none',
    'pipe it: `… | loopsy pair <address> --code - --yes`',
  );
};

const firstLine = async (stdin: Stdin): Promise<string> => {
  if (stdin.kind === 'none') return '';
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: stdin.stream });
  const line = await new Promise<string>((resolve) => lines.once('line', resolve).once('close', () => resolve('')));
  lines.close();
  return line.trim();
};

/** What this side chose, now or when the pairing that goes on was begun; and what that lets the other do, in words. */
const chosenIn = (cli: Cli, open: Status | undefined, user: string): Pick<PairRun, 'choices' | 'words'> => {
  const choices = open === undefined ? choicesOf(cli) : (open.chosen ?? {});
  return { choices, words: levelWords(choices.grant ?? 'full', plain(user), choices.folders) };
};

interface Beginning {
  readonly role: PairRun['role'];
  readonly node: LocalNode;
  readonly ask: Ask | undefined;
  /** Whom a joiner means. */
  readonly at?: { readonly address?: string; readonly port?: number };
}

/** A pairing that a command which is gone has left open: gone on with where a person can answer, and means the same. */
const leftOpen = async (cli: Cli, { role, node, ask, at }: Beginning): Promise<Status | undefined> => {
  const wantsAnother = cli.invocation.has('invite') || Object.keys(choicesOf(cli)).length > 0;
  if (ask === undefined || wantsAnother) return undefined;
  const status = await node.client.call('pair.status', { role });
  const { active, state, at: asked } = status;
  if (!active || state === 'waiting-peer') return undefined;
  const isOther = asked !== undefined && (asked.address !== at?.address || asked.port !== (at.port ?? DEFAULT_PORT));
  if (isOther) return undefined;
  cli.out.note('A pairing is open here already: this goes on with it, and Ctrl-C ends it.');
  return status;
};

/** Who says yes at this side; undefined: it was said with the command. */
const answerer = async ({ invocation, out, io }: Cli, isInvited: boolean): Promise<Ask | undefined> => {
  if (invocation.has('yes') || isInvited) return undefined;
  const ask = out.json ? undefined : await askPerson(io);
  if (ask !== undefined) return ask;
  throw usageError(
    '`loopsy pair` asks before it trusts, and nobody can answer here',
    'in a script: `loopsy pair --invite` on one machine, `loopsy pair <address> --code - --yes` on the other, which reads the invitation from stdin',
  );
};

const choicesOf = (cli: Cli): PairRun['choices'] => {
  const name = cli.invocation.value('name');
  const grant = cli.invocation.value('grant');
  const chosen = chosenOptions(cli, grant === undefined ? undefined : levelOf(grant));
  return { ...(name === undefined ? {} : { name }), ...chosen };
};

const levelOf = (text: string): Level => {
  const level = LEVELS.find((one) => one === text);
  if (level !== undefined) return level;
  throw usageError(`"${text}" is no level`, `use ${LEVELS.join(', ')}`);
};

const left = ({ out }: Cli): number => {
  out.print('Nothing was changed.');
  return EXIT.failed;
};

export const commands: Commands = { pair };
