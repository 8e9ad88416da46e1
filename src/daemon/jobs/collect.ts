import { isUtf8 } from 'node:buffer';

import { FRAME, isOutput } from '../../protocol/frames.ts';
import type { ExecuteResult, JobOutcome } from '../../protocol/jobs.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';

/** A buffered answer holds no more output; the rest is read by its cursor. */
const MAX_RESULT_BYTES = 4 * 1_048_576;

interface Collected {
  readonly stdout: Uint8Array[];
  readonly stderr: Uint8Array[];
  cursor: number;
  truncated: boolean;
}

/**
 * Reads a run to its end and makes the buffered answer of it; above 4 MiB it stops reading and only waits.
 * @throws {LoopsyError} what kept the run from starting.
 */
export const collectResult = async (
  source: StreamSource,
  outcome: () => Promise<JobOutcome>,
): Promise<ExecuteResult> => {
  const got: Collected = { stdout: [], stderr: [], cursor: 0, truncated: false };
  while (!got.truncated) {
    const piece = await source.next();
    if (piece === undefined) break;
    if (piece.type === FRAME.gap) got.truncated = true;
    if (isOutput(piece.type)) keep(got, piece);
  }
  source.close();
  return toResult(got, await outcome());
};

const keep = (got: Collected, { type, bytes, cursor }: StreamPiece): void => {
  const room = MAX_RESULT_BYTES - got.cursor;
  const kept = bytes.length <= room ? bytes : bytes.subarray(0, wholeCharacters(bytes, room));
  (type === FRAME.stdout ? got.stdout : got.stderr).push(kept);
  got.truncated = kept.length < bytes.length;
  got.cursor = cursor - bytes.length + kept.length;
};

/** The most bytes up to `limit` that don't cut a UTF-8 character. */
const wholeCharacters = (bytes: Uint8Array, limit: number): number => {
  for (let at = limit; at > limit - 4 && at > 0; at--) {
    if (((bytes[at] ?? 0) & 0xc0) !== 0x80) return at;
  }
  return limit;
};

const toResult = ({ stdout, stderr, cursor, truncated }: Collected, outcome: JobOutcome): ExecuteResult => {
  const out = join(stdout);
  const err = join(stderr);
  const encoding = isUtf8(out) && isUtf8(err) ? 'utf8' : 'base64';
  return {
    ...outcome,
    stdout: out.toString(encoding),
    stderr: err.toString(encoding),
    ...(encoding === 'base64' ? { encoding } : {}),
    ...(truncated ? { truncated } : {}),
    cursor,
  };
};

const NOTHING = Buffer.alloc(0);

const join = (parts: readonly Uint8Array[]): Buffer => (parts.length === 0 ? NOTHING : Buffer.concat(parts));
