import { randomBytes } from 'node:crypto';

import { decodeJson } from '../../client/client.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { ExecuteInput, JobOutcome, JobStarted } from '../../protocol/jobs.ts';
import { plain, size } from '../output.ts';
import { median, mismatch, shortTime, type Bench, type Finding, type SelftestCheck } from './check.ts';
import { programsOf } from './programs.ts';

// Few: a peer may run 30 commands a minute.
const ROUNDS = 5;
const LEAST_ROUNDS = 3;
const BYTES = 1_048_576;
const STREAM_BYTES = 67_108_864;
const STREAM_MS = 2000;

/** A command's text comes back, and the answer says where it ran. */
const command: SelftestCheck = {
  name: 'command',
  run: async ({ client, peer, platform, signal }) => {
    const stdin = 'loopsy: grüße, 東京, 👋\n';
    const answer = await client.call('job.execute', { ...programsOf(platform).echo, stdin }, { peer, signal });
    const { stdout, exitCode, host, user, cwd } = answer;
    if (exitCode !== 0 || stdout !== stdin) {
      throw mismatch(`sent ${JSON.stringify(stdin)}, got ${JSON.stringify(stdout)} and exit code ${exitCode}`);
    }
    return { detail: `ran on ${plain(host)} as ${plain(user)} in ${plain(cwd)}` };
  },
};

/** How a followed run ended. */
interface Followed {
  readonly outcome: JobOutcome;
  readonly stdout: Buffer;
}

/** What is done with a run while it is followed. */
interface Follower {
  readonly onStarted?: (jobId: string) => unknown;
  readonly onOutput?: (stdout: Buffer, jobId: string) => unknown;
}

/** Runs a command to its end, and keeps its output. */
const follow = async (bench: Bench, input: ExecuteInput, { onStarted, onOutput }: Follower): Promise<Followed> => {
  const { client, peer, signal } = bench;
  const parts: Buffer[] = [];
  let jobId = '';
  for await (const { type, bytes } of client.stream('job.stream', input, { peer, signal })) {
    // The node encodes each frame by its schema.
    if (type === FRAME.started) ({ jobId } = decodeJson(bytes) as JobStarted);
    if (type === FRAME.started) onStarted?.(jobId);
    if (type === FRAME.stdout) parts.push(Buffer.from(bytes));
    if (type === FRAME.stdout) onOutput?.(Buffer.concat(parts), jobId);
    if (type === FRAME.exit) return { outcome: decodeJson(bytes) as JobOutcome, stdout: Buffer.concat(parts) };
  }
  throw mismatch('the stream ended before the run did');
};

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Any bytes go there through stdin, and come back through stdout. */
const bytesBothWays: SelftestCheck = {
  name: 'bytes',
  run: async (bench) => {
    const { client, peer, signal, platform } = bench;
    const sent = randomBytes(BYTES);
    let sending: Promise<unknown> = Promise.resolve();
    const { stdout } = await follow(
      bench,
      { ...programsOf(platform).echo, stdinStream: true },
      {
        onStarted: (jobId) => {
          sending = client.upload('job.stdin', { jobId }, { peer, signal, body: once(sent) });
          // It is waited for below; until then a failure is no unhandled one.
          sending.catch(() => undefined);
        },
      },
    );
    await sending;
    if (!stdout.equals(sent))
      throw mismatch(`of ${sent.length} random bytes ${stdout.length} came back, and not the same`);
    return {
      detail: `${size(sent.length)} of random bytes there and back, identical`,
      figures: { bytes: sent.length },
    };
  },
};

/** How long a command takes that does nothing, and how much of that is the way. */
const latency: SelftestCheck = {
  name: 'latency',
  run: async ({ client, peer, platform, signal, clock, hadToWait }) => {
    const totals: number[] = [];
    const ways: number[] = [];
    hadToWait();
    for (let round = 0; round < ROUNDS; round += 1) {
      const begun = clock.monotonicMs();
      const { duration } = await client.call('job.execute', programsOf(platform).nothing, { peer, signal });
      const total = clock.monotonicMs() - begun;
      if (hadToWait()) continue;
      totals.push(total);
      ways.push(Math.max(0, total - duration));
    }
    if (totals.length < LEAST_ROUNDS) return { detail: 'not measured: the commands of this minute are used up there' };
    const figures = { latencyMs: median(totals), wayMs: median(ways) };
    const detail = `${shortTime(figures.latencyMs)} for a command that does nothing (median of ${totals.length}), ${shortTime(figures.wayMs)} of it on the way`;
    return { detail, figures };
  },
};

/** How fast output comes. */
const throughput: SelftestCheck = {
  name: 'throughput',
  run: async ({ client, peer, platform, signal, clock, hadToWait }) => {
    hadToWait();
    let bytes = 0;
    let begun = clock.monotonicMs();
    const pieces = client.stream('job.stream', programsOf(platform).zeros(STREAM_BYTES), { peer, signal });
    for await (const piece of pieces) {
      if (piece.type === FRAME.started) begun = clock.monotonicMs();
      if (piece.type === FRAME.stdout) bytes += piece.bytes.length;
      if (piece.type === FRAME.exit && bytes !== STREAM_BYTES) throw mismatch(`${bytes} of ${STREAM_BYTES} bytes came`);
      // A slow way is measured too: leaving the loop ends the run.
      if (piece.type === FRAME.exit || clock.monotonicMs() - begun > STREAM_MS) break;
    }
    const ms = Math.max(1, clock.monotonicMs() - begun);
    const bytesPerSecond = Math.round((bytes / ms) * 1000);
    return { detail: `${size(bytesPerSecond)}/s (${size(bytes)} of output)`, figures: { bytesPerSecond, bytes } };
  },
};

/** Ctrl-C reaches the process. */
const interrupt: SelftestCheck = {
  name: 'ctrl-c',
  run: async (bench): Promise<Finding> => {
    const { client, peer, signal, platform, clock } = bench;
    let begun = 0;
    let asked: Promise<unknown> = Promise.resolve();
    const { outcome } = await follow(bench, programsOf(platform).wait, {
      onStarted: (jobId) => {
        begun = clock.monotonicMs();
        asked = client.call('job.signal', { jobId, signal: 'SIGINT' }, { peer, signal });
        asked.catch(() => undefined);
      },
    });
    await asked;
    const isInterrupted = outcome.signal === 'SIGINT' || outcome.exitCode === 130 || platform === 'win32';
    if (!isInterrupted)
      throw mismatch(`the process ended by ${outcome.signal ?? `exit code ${outcome.exitCode}`}, not by Ctrl-C`);
    return { detail: `ended the remote process after ${shortTime(clock.monotonicMs() - begun)}` };
  },
};

/** A cancel ends everything that a run has started. */
const cancel: SelftestCheck = {
  name: 'cancel',
  run: async (bench) => {
    const { client, peer, signal, platform, clock } = bench;
    let begun = 0;
    let child: number | undefined;
    let asked: Promise<unknown> = Promise.resolve();
    const { outcome } = await follow(bench, programsOf(platform).family, {
      onOutput: (stdout, jobId) => {
        const pid = /^(\d+)\s/.exec(stdout.toString())?.[1];
        if (pid === undefined || child !== undefined) return;
        child = Number(pid);
        begun = clock.monotonicMs();
        asked = client.call('job.cancel', { jobId }, { peer, signal });
        asked.catch(() => undefined);
      },
    });
    await asked;
    const ms = clock.monotonicMs() - begun;
    if (outcome.endedBy !== 'cancel' || child === undefined)
      throw mismatch(`the run ended by ${outcome.endedBy} before it was cancelled`);
    const { stdout } = await client.call('job.execute', programsOf(platform).look(child), { peer, signal });
    if (stdout.trim() !== 'gone') throw mismatch(`process ${child}, which the run had started, outlived it`);
    return { detail: `ended the run and what it had started after ${shortTime(ms)}` };
  },
};

/** What runs of commands promise. */
export const COMMAND_CHECKS: readonly SelftestCheck[] = [
  command,
  bytesBothWays,
  latency,
  throughput,
  interrupt,
  cancel,
];
