import type { Grant, GrantInput } from '../../protocol/grants.ts';
import { EXIT } from '../../protocol/errors.ts';
import type { Peer } from '../../protocol/peers.ts';
import { describeEnded, type Level } from '../../protocol/scopes.ts';
import { itemsOf, pagesOf } from '../../client/pages.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { grantOptions } from '../grant-options.ts';
import { grantWords } from '../known-names.ts';
import { ago, facts, grouped, localTime, plain, table, type Paint } from '../output.ts';
import { typedAddress } from '../values.ts';

const list: Command = async ({ node, out, io }) => {
  const { client } = await node();
  const peers = await itemsOf(pagesOf(client, 'peer.list', { input: {} }), (page) => page.peers);
  if (out.json) out.document({ peers });
  if (peers.length === 0) {
    out.print('No peers yet. `loopsy pair` trusts another machine; it says what to type there.');
    return EXIT.ok;
  }
  const now = io.clock.now();
  const rows = peers.map((peer) => [
    plain(peer.name),
    presence(peer, out.paint),
    addressOf(peer),
    peer.platform ?? '-',
    plain(peer.version ?? '-'),
    peer.lastSeen === undefined ? 'never' : ago(peer.lastSeen, now),
    mayOf(peer),
  ]);
  out.print(...table([['NAME', 'STATE', 'ADDRESS', 'PLATFORM', 'VERSION', 'SEEN', 'MAY'], ...rows], out.paint));
  out.print(...peers.flatMap((peer) => noteOf(peer, out.paint)));
  return EXIT.ok;
};

/** What stands between a row and work with it; of one that is off, the table says enough. */
const noteOf = ({ name, nodeId, trusted, reason }: Peer, paint: Paint): string[] =>
  reason === undefined || (trusted && nodeId !== undefined) ? [] : [paint.yellow(`! ${plain(name)}: ${plain(reason)}`)];

const mayOf = ({ grant }: Peer): string => {
  if (grant === undefined) return '-';
  if (grant.expired === true) return describeEnded(grant, localTime);
  return grant.scopes.length === 0 ? 'nothing' : grant.level;
};

const presence = (peer: Peer, paint: Paint): string => {
  if (!peer.trusted) return paint.yellow('not trusted');
  return peer.status === 'online' ? paint.green('online') : paint.dim(peer.status);
};

const addressOf = ({ address, port }: Peer): string => {
  if (address === undefined) return '-';
  const host = plain(address.includes(':') ? `[${address}]` : address);
  return port === undefined ? host : `${host}:${port}`;
};

const show: Command = async (cli) => {
  const { client } = await cli.node();
  const peer = await client.call('peer.show', { nodeId: argument(cli, 0) });
  return showPeer(cli, peer, await grantWords(client, peer.grant === undefined ? [] : [peer.grant]));
};

const showPeer = ({ out, io }: Cli, peer: Peer, words: (grant: Grant) => string): number => {
  if (out.json) out.document(peer);
  const rows: (readonly [string, string | undefined])[] = [
    ['name', peer.name],
    ['host', peer.hostname],
    ['node', peer.nodeId],
    ['address', addressOf(peer)],
    ['runs', [peer.platform, peer.version].filter((part) => part !== undefined).join(', loopsy ') || undefined],
    ['state', peer.reason === undefined ? peer.status : `${peer.status}: ${peer.reason}`],
    ['seen', peer.lastSeen === undefined ? undefined : ago(peer.lastSeen, io.clock.now())],
    ['trusted', trustOf(peer)],
    ['grant', peer.grant === undefined ? undefined : words(peer.grant)],
    ['can', peer.capabilities.join(', ') || undefined],
    ['fingerprint', peer.fingerprint === undefined ? undefined : grouped(peer.fingerprint)],
  ];
  out.print(
    ...facts(
      rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, plain(value)] as const])),
      out.paint,
    ),
  );
  return EXIT.ok;
};

const trustOf = ({ trusted, manuallyAdded }: Peer): string => {
  if (trusted) return 'yes';
  return manuallyAdded ? 'no: `loopsy pair` does that' : 'no';
};

const add: Command = async (cli) => {
  const { invocation, out } = cli;
  const { client } = await cli.node();
  const name = invocation.value('name');
  const peer = await client.call('peer.add', {
    ...typedAddress(argument(cli, 0), invocation.args[1]),
    ...(name === undefined ? {} : { name }),
  });
  if (out.json) out.document(peer);
  out.print(`Added ${plain(peer.name)} (${addressOf(peer)}).`);
  if (!peer.trusted)
    out.print(`It is not trusted yet: \`loopsy pair\` there, then \`loopsy pair ${addressOf(peer)}\` here.`);
  return EXIT.ok;
};

const remove: Command = async (cli) => {
  const { invocation, out } = cli;
  const { client } = await cli.node();
  const keepRuns = invocation.has('keep-runs') ? { keepRuns: 'true' } : {};
  const removed = await client.call('peer.remove', { nodeId: argument(cli, 0), ...keepRuns });
  if (out.json) out.document(removed);
  const name = plain(removed.name);
  if (removed.trusted) {
    const told = removed.told ? 'The other side knows.' : 'The other side could not be told yet.';
    out.print(`Removed ${name}: it is no longer trusted here.`, told);
  } else out.print(`Removed ${name}. It was not trusted.`);
  return EXIT.ok;
};

const grant: Command = async (cli) => {
  const { invocation, out } = cli;
  const { client } = await cli.node();
  // The parser has checked the word against the levels.
  const input: GrantInput = grantOptions(cli, invocation.args[1] as Level);
  const peer = await client.call('peer.grant', { nodeId: argument(cli, 0), ...input });
  if (out.json) out.document(peer);
  const words = await grantWords(client, peer.grant === undefined ? [] : [peer.grant]);
  out.print(`${plain(peer.name)} ${peer.grant === undefined ? 'may do nothing here' : plain(words(peer.grant))}.`);
  return EXIT.ok;
};

const revoke: Command = async (cli) => {
  const { client } = await cli.node();
  const peer = await client.call('peer.revoke', { nodeId: argument(cli, 0) });
  if (cli.out.json) cli.out.document(peer);
  cli.out.print(`${plain(peer.name)} may do nothing here any more. \`loopsy peers grant\` gives it back.`);
  return EXIT.ok;
};

const rename: Command = async (cli) => {
  const { client } = await cli.node();
  const peer = await client.call('peer.rename', { nodeId: argument(cli, 0), name: argument(cli, 1) });
  if (cli.out.json) cli.out.document(peer);
  cli.out.print(`It is called ${plain(peer.name)} here now.`);
  return EXIT.ok;
};

/** An argument that the parser has made sure of. */
const argument = ({ invocation }: Cli, at: number): string => invocation.args[at] ?? '';

export const commands: Commands = {
  'peers list': list,
  'peers show': show,
  'peers add': add,
  'peers remove': remove,
  'peers grant': grant,
  'peers revoke': revoke,
  'peers rename': rename,
};
