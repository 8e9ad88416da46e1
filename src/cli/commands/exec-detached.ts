import { LoopsyError, EXIT } from '../../protocol/errors.ts';
import type { ExecuteInput } from '../../protocol/jobs.ts';
import type { Cli } from '../cli.ts';
import { cameWithin, pipedStdin } from '../exec-stdin.ts';
import { size } from '../output.ts';
import { usageError } from '../parse.ts';
import { peerNamed } from '../values.ts';

/** So long a producer may think before it writes; an open stdin without a writer (CI) must not hang this for ever. */
const STDIN_WAIT_MS = 30_000;
/** Who waits longer is told for what. */
const STDIN_NOTE_MS = 1_000;
/** A detached run gets its whole stdin with its start. */
const MAX_STDIN_BYTES = 4_194_304;

/** Starts a run that outlives this command, and says its id when the run is on the other machine's disk. */
export const startDetached = async (cli: Cli, input: ExecuteInput): Promise<number> => {
  const { invocation, io, out } = cli;
  const request = await detachedInput(cli, input);
  const { client } = await cli.node();
  const peer = peerNamed(invocation.args[0]);
  const answer = await client.call('job.execute', request, { peer });
  if (out.json) out.document(answer);
  out.print(answer.jobId);
  if (io.stderr.isTTY === true && !invocation.has('quiet')) {
    const state = answer.state === 'queued' ? 'waits in the queue, and ' : '';
    out.note(`loopsy: it ${state}goes on by itself; \`loopsy jobs attach ${answer.jobId}\` follows it`);
  }
  return EXIT.ok;
};

/** What starts a detached run: the command, with all of its stdin. */
export const detachedInput = async (
  cli: Cli,
  input: ExecuteInput,
): Promise<ExecuteInput & { readonly detach: true }> => {
  const stdin = await readStdin(cli);
  return { ...input, ...(stdin === '' ? {} : { stdin }), detach: true };
};

/** From its first byte on it is read to its end, as every pipe is. */
const readStdin = async (cli: Cli): Promise<string> => {
  const stdin = pipedStdin(cli);
  if (stdin.empty) return '';
  const { io, invocation, out } = cli;
  const note = io.clock.after(STDIN_NOTE_MS, () => {
    if (!invocation.has('quiet')) out.note('loopsy: waits for stdin (-n runs it without)');
  });
  const came = await cameWithin(stdin, STDIN_WAIT_MS, io.clock);
  note.cancel();
  if (!came) throw nothingCame();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of stdin.bytes()) {
    bytes += part.length;
    if (bytes > MAX_STDIN_BYTES) throw tooMuch();
    parts.push(part);
  }
  return asText(Buffer.concat(parts));
};

const nothingCame = (): LoopsyError =>
  usageError(
    `nothing came on stdin for ${STDIN_WAIT_MS / 1000} s, so nothing was started`,
    'add -n to run it without; what takes longer to begin goes into a file first',
  );

const tooMuch = (): LoopsyError =>
  usageError(
    `with --detach stdin may have at most ${size(MAX_STDIN_BYTES)}`,
    'put it in a file over there, or run the command without --detach',
  );

const asText = (bytes: Buffer): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new LoopsyError('invalid_request', {
      message: 'with --detach stdin must be text (UTF-8)',
      hint: 'put it in a file over there, or run the command without --detach',
      cause,
    });
  }
};
