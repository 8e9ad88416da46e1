import { EXIT } from '../../protocol/errors.ts';
import { LEVELS, type Level } from '../../protocol/scopes.ts';
import { itemsOf, pagesOf } from '../../client/pages.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { grantOptions } from '../grant-options.ts';
import { grantWords } from '../known-names.ts';
import { plain, table } from '../output.ts';
import { usageError } from '../parse.ts';

const list: Command = async ({ node, out }) => {
  const { client } = await node();
  const keys = await itemsOf(pagesOf(client, 'key.list', { input: {} }), (page) => page.keys);
  if (out.json) out.document({ keys });
  if (keys.length === 0) {
    out.print('No keys for programs. `loopsy key add <name>` makes one.');
    return EXIT.ok;
  }
  const kinds = { named: 'key', config: 'config.yaml', agent: 'agents here' };
  const words = await grantWords(
    client,
    keys.map((key) => key.grant),
  );
  const rows = keys.map((key) => [plain(key.name), kinds[key.kind], plain(words(key.grant))]);
  out.print(...table([['NAME', 'KIND', 'GRANT'], ...rows], out.paint));
  return EXIT.ok;
};

/** A secret goes to a terminal, or where somebody asked for it: not by chance into a log or a transcript. */
const mustReveal = ({ invocation, io }: Cli, refused: string, hint: string): void => {
  if (io.stdout.isTTY !== true && !invocation.has('reveal'))
    throw usageError(`stdout is not a terminal, so ${refused}`, hint);
};

const show: Command = async (cli) => {
  mustReveal(cli, 'the key is not printed', '`loopsy key show --reveal` prints it all the same');
  const { client } = await cli.node();
  const answer = await client.call('key.show', {});
  if (cli.out.json) cli.out.document(answer);
  cli.out.print(answer.key);
  return EXIT.ok;
};

const generate: Command = async (cli) => {
  mustReveal(cli, 'the key was not replaced', '`loopsy key generate --reveal` replaces it and prints the new one');
  const { client } = await cli.node();
  const answer = await client.call('key.generate', {});
  if (cli.out.json) cli.out.document(answer);
  cli.out.print(answer.key);
  if (!cli.out.json) cli.out.note('The old key no longer works. Peers are not affected.');
  return EXIT.ok;
};

const add: Command = async (cli) => {
  const { invocation, out } = cli;
  const level = levelOf(invocation.value('grant'));
  const narrowed = ['folder', 'expires', 'reach'].some((option) => invocation.has(option));
  const grant = level === undefined && !narrowed ? {} : { grant: grantOptions(cli, level ?? 'collaborate') };
  const { client } = await cli.node();
  const answer = await client.call('key.add', { name: invocation.args[0] ?? '', ...grant });
  if (out.json) out.document(answer);
  out.print(answer.key);
  const words = await grantWords(client, [answer.grant]);
  if (!out.json) out.note(`${plain(answer.name)} ${plain(words(answer.grant))}. The key is shown this once.`);
  return EXIT.ok;
};

const levelOf = (text: string | undefined): Level | undefined => {
  const level = LEVELS.find((one) => one === text);
  if (text === undefined || level !== undefined) return level;
  throw usageError(`"${text}" is no level`, `use ${LEVELS.join(', ')}`);
};

const grant: Command = async (cli) => {
  const { invocation, out } = cli;
  const { client } = await cli.node();
  // The parser has checked the word against the levels.
  const row = await client.call('key.grant', {
    name: invocation.args[0] ?? '',
    ...grantOptions(cli, invocation.args[1] as Level),
  });
  if (out.json) out.document(row);
  const words = await grantWords(client, [row.grant]);
  out.print(`${plain(row.name)} ${plain(words(row.grant))}.`);
  return EXIT.ok;
};

const revoke: Command = async ({ invocation, node, out }) => {
  const { client } = await node();
  const answer = await client.call('key.revoke', { name: invocation.args[0] ?? '' });
  if (out.json) out.document(answer);
  out.print(`Revoked ${plain(answer.name)}: it no longer works.`);
  return EXIT.ok;
};

export const commands: Commands = {
  'key list': list,
  'key show': show,
  'key generate': generate,
  'key add': add,
  'key grant': grant,
  'key revoke': revoke,
};
