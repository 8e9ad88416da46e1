import { EXIT } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { pullToStdout, sendStdin, STDIO } from '../one-file.ts';
import { usageError } from '../parse.ts';
import { choicesOf, endsOfCp, endsOfPull, endsOfSend, type Ends } from '../transfer-input.ts';
import { followTransfer, untilInterrupted } from '../transfer-stream.ts';
import { AGAIN } from '../transfer-words.ts';

const send: Command = async (cli) => (usesStdio(cli) ? sendStdin(cli) : move(cli, endsOfSend(cli)));

const pull: Command = async (cli) => (usesStdio(cli) ? pullToStdout(cli) : move(cli, endsOfPull(cli)));

const cp: Command = async (cli) => {
  if (!usesStdio(cli)) return move(cli, endsOfCp(cli));
  throw usageError(
    'cp knows no stdin and no stdout',
    '`loopsy send <peer> - <dest>` and `loopsy pull <peer> <src> -` do; a file that is called - is written ./-',
  );
};

/** True where one of the places behind the peer is `-`. */
const usesStdio = ({ invocation }: Cli): boolean =>
  invocation.args.slice(invocation.spec?.path === 'cp' ? 0 : 1).includes(STDIO);

/** Moves files, and shows it until it has ended; with --detach, says its id alone. */
const move = async (cli: Cli, ends: Ends): Promise<number> => {
  const { invocation, io, out } = cli;
  const input = { ...ends, ...(await choicesOf(cli)) };
  const node = await cli.node();
  const { client } = node;
  if (!invocation.has('detach')) {
    const typed = invocation.args.at(-1);
    return untilInterrupted(cli, `loopsy: stopped; ${AGAIN}`, (signal) =>
      followTransfer(cli, { node, first: client.events('transfer.run', input, { signal }), typed, signal }),
    );
  }
  const started = await client.call('transfer.start', { ...input, detach: true });
  if (out.json) out.document(started);
  out.print(started.transferId);
  if (io.stderr.isTTY === true && !invocation.has('quiet'))
    out.note(`loopsy: it goes on by itself; \`loopsy transfers attach ${started.transferId}\` follows it`);
  return EXIT.ok;
};

export const commands: Commands = { send, pull, cp };
