import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { OutputOf } from '../../protocol/operations.ts';
import { LEVELS, type Level } from '../../protocol/scopes.ts';
import { askPerson, type Ask } from '../ask.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import type { LocalNode } from '../connect.ts';
import { chosenOptions, folderOptions, levelWords } from '../grant-options.ts';
import { grouped, plain, type Paint } from '../output.ts';
import { usageError } from '../parse.ts';
import { type Address, typedAddress } from '../values.ts';

type Probed = OutputOf<'peer.probe'>;

const connect: Command = async (cli) => {
  const { invocation } = cli;
  const level = levelOf(invocation.value('grant'));
  chosenOptions(cli, level);
  const fingerprint = invocation.value('fingerprint');
  if (invocation.has('yes')) return connectUnasked(cli, fingerprint, level);
  const ask = cli.out.json ? undefined : await askPerson(cli.io);
  if (ask === undefined) {
    throw usageError(
      '`loopsy connect` asks before it trusts, and nobody can answer here',
      'in a script: `loopsy connect <address> --fingerprint <hex> --yes`',
    );
  }
  const node = await cli.node();
  const found = await find(cli, node, ask);
  if (found === undefined) return left(cli);
  const { address, probed } = found;
  showBoth(cli, probed);
  if (fingerprint !== undefined && bare(fingerprint) !== probed.fingerprint)
    throw differs(fingerprint, probed.fingerprint);
  if (probed.trusted) {
    cli.out.print(`It is trusted already, as ${plain(probed.name ?? probed.nodeId)}.`);
    return EXIT.ok;
  }
  const { user } = await node.client.call('system.status', {});
  cli.out.print('', `It ${levelWords(level, plain(user), folderOptions(cli))}.`);
  const question =
    fingerprint === undefined
      ? 'Does the other machine show the same two fingerprints, and do you trust it?'
      : 'Trust it?';
  if ((await ask.confirm(question)) !== true) return left(cli);
  return trust(cli, node, { address, fingerprint: probed.fingerprint, level });
};

/** Everything that a question would settle was typed. */
const connectUnasked = async (cli: Cli, fingerprint: string | undefined, level: Level): Promise<number> => {
  const [typed] = cli.invocation.args;
  if (typed === undefined) throw usageError('"loopsy connect --yes" needs <address>');
  if (fingerprint === undefined) {
    throw usageError(
      '--yes needs --fingerprint: without it nothing would be compared',
      '`loopsy status` shows it on the other machine',
    );
  }
  const address = typedAddress(typed);
  return trust(cli, await cli.node(), { address, fingerprint: bare(fingerprint), level });
};

/** Asks for an address until one answers; the one that was typed first is tried once. */
const find = async (cli: Cli, node: LocalNode, ask: Ask): Promise<{ address: Address; probed: Probed } | undefined> => {
  const [given] = cli.invocation.args;
  for (;;) {
    const typed = given ?? (await ask.text('Address of the other machine', '192.168.1.20 or kai.local'));
    if (typed === undefined) return undefined;
    try {
      const address = typedAddress(typed);
      return { address, probed: await node.client.call('peer.probe', address) };
    } catch (thrown) {
      if (given !== undefined || !(thrown instanceof LoopsyError)) throw thrown;
      cli.out.print(
        `${plain(typed)}: ${plain(thrown.message)}`,
        ...(thrown.hint === undefined ? [] : [`  ${plain(thrown.hint)}`]),
      );
    }
  }
};

const showBoth = ({ out }: Cli, { fingerprint, ownFingerprint, address, port }: Probed): void =>
  out.print(
    '',
    `${plain(address)}:${port} shows`,
    `  ${out.paint.bold(grouped(fingerprint))}`,
    'this machine shows',
    `  ${out.paint.bold(grouped(ownFingerprint))}`,
    out.paint.dim('`loopsy status` on the other machine shows its own: compare all of it.'),
  );

interface Chosen {
  readonly address: Address;
  readonly fingerprint: string;
  readonly level: Level;
}

const trust = async (cli: Cli, node: LocalNode, { address, fingerprint, level }: Chosen): Promise<number> => {
  const { invocation, out } = cli;
  const name = invocation.value('name');
  const answer = await node.client.call('peer.trust', {
    ...address,
    fingerprint,
    ...chosenOptions(cli, level),
    ...(name === undefined ? {} : { name }),
  });
  if (out.json) out.document(answer);
  const peer = plain(answer.peer.name);
  out.print(`${out.paint.green('✓')} ${peer} is trusted here (${level}).`);
  if (answer.mutual) out.print(`It trusts this machine too. Try: loopsy exec ${peer} hostname`);
  else out.print(...otherSide(answer, out.paint));
  return EXIT.ok;
};

const SHOWN_ADDRESSES = 3;

/** What the person types on the other machine. */
const otherSide = ({ ownAddresses, ownFingerprint }: OutputOf<'peer.trust'>, paint: Paint): string[] => {
  const [first = '<this machine>', ...others] = ownAddresses.map(plain);
  const more = others.slice(0, SHOWN_ADDRESSES).join(', ');
  return [
    'Now do the same there:',
    `  loopsy connect ${first} --fingerprint ${ownFingerprint}`,
    ...(more === '' ? [] : [paint.dim(`  (where that address leads nowhere, this machine also has ${more})`)]),
  ];
};

const bare = (fingerprint: string): string => fingerprint.replaceAll(/[:\s]/g, '').toLowerCase();

const differs = (expected: string, shown: string): LoopsyError =>
  new LoopsyError('peer_handshake', {
    message: 'the fingerprints differ: the machine there shows another one than you gave',
    hint: 'nothing was trusted; check the address, and read the fingerprint on the other machine again',
    details: { expected: bare(expected), shown },
  });

const left = ({ out }: Cli): number => {
  out.print('Nothing was changed.');
  return EXIT.failed;
};

const levelOf = (text: string | undefined): Level => {
  const level = LEVELS.find((one) => one === (text ?? 'full'));
  if (level !== undefined) return level;
  throw usageError(`"${text ?? ''}" is no level`, `use ${LEVELS.join(', ')}`);
};

export const commands: Commands = { connect };
