import { itemsOf, pagesOf } from '../../client/pages.ts';
import { EXIT } from '../../protocol/errors.ts';
import type { Transfer } from '../../protocol/transfers.ts';
import type { Command, Commands } from '../cli.ts';
import { callerWords } from '../known-names.ts';
import { ago, facts, localTime, plain, size, spent, table } from '../output.ts';
import { followTransfer, untilInterrupted } from '../transfer-stream.ts';
import {
  bytesWords,
  endName,
  errorOf,
  failureGroups,
  filesWords,
  placeWords,
  stateWords,
  whatWords,
  type Reader,
} from '../transfer-words.ts';
import { peerNamed } from '../values.ts';

const MAX_WHAT = 40;

const list: Command = async ({ invocation, io, node, out }) => {
  const local = await node();
  const peer = peerNamed(invocation.value('peer'));
  const input = { state: invocation.has('all') ? 'all' : 'active', limit: 1000 } as const;
  const transfers = await itemsOf(pagesOf(local.client, 'transfer.list', { input, peer }), (page) => page.transfers);
  if (out.json) {
    out.document({ transfers });
    return EXIT.ok;
  }
  if (transfers.length === 0) {
    out.print(invocation.has('all') ? NEVER : 'Nothing is moved. `loopsy transfers list --all` shows what was.');
    return EXIT.ok;
  }
  const by = await callerWords(
    local,
    transfers.map(({ caller }) => caller),
  );
  const reader: Reader = { here: local.health.nodeId };
  const now = io.clock.now();
  const rows = transfers.map((transfer) => [
    transfer.transferId,
    stateWords(transfer),
    `${endName(transfer.from, reader)} → ${endName(transfer.to, reader)}`,
    filesWords(transfer),
    bytesWords(transfer),
    ago(transfer.startedAt, now),
    plain(by(transfer.caller)),
    shorten(whatWords(transfer)),
  ]);
  out.print(
    ...table([['TRANSFER', 'STATE', 'FROM → TO', 'FILES', 'BYTES', 'BEGAN', 'BY', 'WHAT'], ...rows], out.paint),
  );
  return EXIT.ok;
};

const NEVER = 'Nothing has been moved yet. `loopsy send <peer> <files> <dest>` sends something.';

/** The end of a path says more than its beginning. */
const shorten = (text: string): string => {
  const characters = Array.from(text);
  return characters.length > MAX_WHAT ? `…${characters.slice(1 - MAX_WHAT).join('')}` : text;
};

const show: Command = async ({ invocation, node, out }) => {
  const local = await node();
  const peer = peerNamed(invocation.value('peer'));
  const transfer = await local.client.call('transfer.get', { transferId: invocation.args[0] ?? '' }, { peer });
  if (out.json) {
    out.document(transfer);
    return EXIT.ok;
  }
  const by = await callerWords(local, [transfer.caller]);
  const reader = { here: local.health.nodeId };
  const rows = factsOf(transfer, reader, by(transfer.caller));
  out.print(
    ...facts(
      rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
      out.paint,
    ),
    ...failureGroups(transfer, reader).flatMap(({ lines }) => lines.map((line) => `${out.paint.red('!')} ${line}`)),
  );
  return EXIT.ok;
};

const factsOf = (
  transfer: Transfer,
  reader: Reader,
  by: string,
): readonly (readonly [name: string, value: string | undefined])[] => {
  const { files, from, to, sources, dest, path, removed } = transfer;
  const error = errorOf(transfer, reader);
  const more = [
    ...(files.skipped > 0 ? [`${files.skipped} were there already`] : []),
    ...(files.failed > 0 ? [`${files.failed} failed`] : []),
    ...(removed > 0 ? [`${removed} removed`] : []),
  ];
  return [
    ['transfer', transfer.transferId],
    ['state', stateWords(transfer)],
    ['from', sources.map((source) => placeWords(from, source, reader)).join(', ') || endName(from, reader)],
    ['to', placeWords(to, path ?? dest, reader)],
    ['by', `${plain(by)}${ROLES[transfer.role]}`],
    ['began', localTime(transfer.startedAt)],
    ['took', transfer.state === 'ended' ? spent(transfer.duration) : undefined],
    ['files', [filesWords(transfer), ...more].join(', ')],
    ['bytes', `${bytesWords(transfer)}, ${size(transfer.bytes.sent)} sent`],
    ['checksum', transfer.checksum],
    ['error', error === undefined ? undefined : plain(error.message)],
    // What to do next is for who began it.
    ['next', error?.hint === undefined || transfer.role !== 'mover' ? undefined : plain(error.hint)],
  ];
};

const ROLES: Readonly<Record<Transfer['role'], string>> = {
  mover: '',
  source: ', which reads the files here',
  target: ', which writes the files here',
};

/** Ctrl-C leaves it running. */
const attach: Command = async (cli) => {
  const { invocation } = cli;
  const transferId = invocation.args[0] ?? '';
  const node = await cli.node();
  const peer = peerNamed(invocation.value('peer'));
  const left = `loopsy: the transfer goes on; \`loopsy transfers attach ${plain(transferId)}\` follows it again`;
  return untilInterrupted(cli, left, (signal) =>
    followTransfer(cli, {
      node,
      first: node.client.events('transfer.follow', { transferId }, { peer, signal }),
      peer,
      signal,
    }),
  );
};

const cancel: Command = async ({ invocation, node, out }) => {
  const { client } = await node();
  const peer = peerNamed(invocation.value('peer'));
  const answer = await client.call('transfer.cancel', { transferId: invocation.args[0] ?? '' }, { peer });
  if (out.json) out.document(answer);
  out.print(answer.state === 'ended' ? 'It had ended before.' : answer.resumable ? RESUMABLE : UNWANTED);
  return EXIT.ok;
};

const RESUMABLE = 'Ended; what has arrived stays, and the same command goes on where it was.';
const UNWANTED = 'Ended. Files that were complete stay, the others are gone, and the sender is told.';

export const commands: Commands = {
  'transfers list': list,
  'transfers show': show,
  'transfers attach': attach,
  'transfers cancel': cancel,
};
