import { LoopsyError, EXIT } from '../../protocol/errors.ts';
import type { ExecuteInput } from '../../protocol/jobs.ts';
import type { Cli } from '../cli.ts';
import { size } from '../output.ts';
import { usageError } from '../parse.ts';
import { watchStdin } from '../stdin.ts';
import { peerNamed } from '../values.ts';

/** A pipe that brings nothing for so long is somebody's who never meant to send anything. */
const STDIN_WAIT_MS = 1_000;
/** A detached run gets its whole stdin with its start. */
const MAX_STDIN_BYTES = 4_194_304;

/** Starts a run that outlives this command, and says its id when the run is on the other machine's disk. */
export const startDetached = async (cli: Cli, input: ExecuteInput): Promise<number> => {
  const { invocation, io, out } = cli;
  const stdin = await readStdin(cli);
  const { client } = await cli.node();
  const request = { ...input, ...(stdin === '' ? {} : { stdin }), detach: true };
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

/** What was piped in, or stands in a file; a terminal is left alone. */
const readStdin = async ({ invocation, io, out }: Cli): Promise<string> => {
  const given = invocation.has('no-stdin') ? ({ kind: 'none' } as const) : io.stdin();
  const isTerminal = given.kind === 'stream' && 'isTTY' in given.stream && given.stream.isTTY === true;
  const stdin = watchStdin(isTerminal ? { kind: 'none' } : given);
  if (stdin.empty) return '';
  const nothing = new Promise<'nothing'>((resolve) => io.clock.after(STDIN_WAIT_MS, () => resolve('nothing')));
  if ((await Promise.race([stdin.seen, nothing])) === 'nothing') {
    out.note(`loopsy: nothing came on stdin for ${STDIN_WAIT_MS / 1000} s: the run gets none (-n says so at once)`);
    return '';
  }
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of stdin.bytes()) {
    bytes += part.length;
    if (bytes > MAX_STDIN_BYTES) throw tooMuch();
    parts.push(part);
  }
  return asText(Buffer.concat(parts));
};

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
