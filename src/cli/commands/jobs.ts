import { EXIT } from '../../protocol/errors.ts';
import type { Job, JobSignal } from '../../protocol/jobs.ts';
import { itemsOf, pagesOf } from '../../client/pages.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { callerWords } from '../known-names.ts';
import { ago, duration, facts, localTime, plain, size, table } from '../output.ts';
import { usageError } from '../parse.ts';
import { followEvents, followPieces, type Following } from '../run-stream.ts';
import { peerNamed } from '../values.ts';

/** What Ctrl-C ends a command with. */
const INTERRUPTED = 130;

const list: Command = async ({ invocation, io, node, out }) => {
  const local = await node();
  const { client } = local;
  const peer = peerNamed(invocation.value('peer'));
  const input = { state: invocation.has('all') ? 'all' : 'active', limit: 1000 } as const;
  const jobs = await itemsOf(pagesOf(client, 'job.list', { input, peer }), (page) => page.jobs);
  if (out.json) {
    out.document({ jobs });
    return EXIT.ok;
  }
  if (jobs.length === 0) {
    out.print(
      invocation.has('all') ? 'Nothing has run yet.' : 'Nothing runs. `loopsy jobs list --all` shows what has ended.',
    );
    return EXIT.ok;
  }
  const by = await callerWords(
    local,
    jobs.map(({ caller }) => caller),
  );
  const now = io.clock.now();
  const rows = jobs.map((job) => [
    job.jobId,
    stateOf(job),
    ago(job.createdAt, now),
    plain(by(job.caller)),
    shorten(commandOf(job)),
  ]);
  out.print(...table([['JOB', 'STATE', 'BEGAN', 'BY', 'COMMAND'], ...rows], out.paint));
  return EXIT.ok;
};

const commandOf = ({ command, args }: Job): string => plain([command, ...args].join(' '));

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

const stateOf = (job: Job): string => {
  const detached = job.detached === true ? ', detached' : '';
  if (job.state === 'queued') return `queued${job.place === undefined ? '' : ` (${job.place})`}${detached}`;
  if (job.state === 'running') return `running${detached}`;
  const end = job.endedBy === undefined || job.endedBy === 'exit' ? '' : ` (${job.endedBy})`;
  return job.exitCode === undefined || job.exitCode === null
    ? `${job.signal ?? 'ended'}${end}`
    : `exit ${job.exitCode}${end}`;
};

const show: Command = async ({ invocation, node, out }) => {
  const local = await node();
  const { client } = local;
  const job = await client.call(
    'job.get',
    { jobId: invocation.args[0] ?? '' },
    { peer: peerNamed(invocation.value('peer')) },
  );
  if (out.json) {
    out.document(job);
    return EXIT.ok;
  }
  const by = await callerWords(local, [job.caller]);
  const began = job.startedAt ?? job.createdAt;
  const rows: (readonly [string, string | undefined])[] = [
    ['job', job.jobId],
    ['state', stateOf(job)],
    ['command', commandOf(job)],
    ['where', `${job.user}@${job.host}:${job.cwd}`],
    ['by', by(job.caller)],
    ['began', localTime(began)],
    ['took', job.duration === undefined ? undefined : duration(job.duration)],
    ['pid', job.pid?.toString()],
    ['output', `${size(job.outputBytes)}${job.truncated === true ? ', the oldest part is gone' : ''}`],
  ];
  out.print(
    ...facts(
      rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, plain(value)] as const])),
      out.paint,
    ),
  );
  return EXIT.ok;
};

const attach: Command = async (cli) => {
  const { invocation, io, out } = cli;
  const since = sinceOf(cli);
  const node = await cli.node();
  const peer = peerNamed(invocation.value('peer'));
  const jobId = invocation.args[0] ?? '';
  const left = new AbortController();
  const release = io.onSignal('SIGINT', () => left.abort());
  const { signal } = left;
  const following: Following = { node, peer, signal, quiet: false, since, onStarted: () => undefined };
  const input = { jobId, since };
  try {
    return out.json
      ? await followEvents(cli, node.client.events('job.output', input, { peer, signal }), following)
      : await followPieces(cli, node.client.stream('job.output', input, { peer, signal }), following);
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    out.note(`loopsy: the job goes on; \`loopsy jobs attach ${jobId}\` follows it again`);
    return INTERRUPTED;
  } finally {
    release();
  }
};

/** Waits for the end of one run, or of several, without their output. */
const wait: Command = async (cli) => {
  const { invocation, out } = cli;
  const ids = invocation.args;
  const node = await cli.node();
  const peer = peerNamed(invocation.value('peer'));
  const { signal } = new AbortController();
  const codes: number[] = [];
  for (const jobId of ids) {
    // Behind all output there is only the end.
    const input = { jobId, since: Number.MAX_SAFE_INTEGER };
    const events = node.client.events('job.output', input, { peer, signal });
    const code = await followEvents(cli, events, {
      ...input,
      node,
      peer,
      signal,
      quiet: false,
      only: 'exit',
      onStarted,
    });
    if (ids.length > 1) out.print(`${jobId}  exit ${code}`);
    codes.push(code);
  }
  if (codes.length === 1) return codes[0] ?? EXIT.ok;
  return codes.every((code) => code === EXIT.ok) ? EXIT.ok : EXIT.failed;
};

const onStarted = (): void => undefined;

const sinceOf = ({ invocation }: Cli): number => {
  const since = Number(invocation.value('since') ?? 0);
  if (Number.isSafeInteger(since) && since >= 0) return since;
  throw usageError(`"${invocation.value('since') ?? ''}" is no cursor`, 'a cursor is a number of bytes');
};

const kill: Command = async ({ invocation, node, out }) => {
  const signal = invocation.value('signal');
  const { client } = await node();
  const peer = peerNamed(invocation.value('peer'));
  const jobId = invocation.args[0] ?? '';
  if (signal === undefined) {
    const answer = await client.call('job.cancel', { jobId }, { peer });
    if (out.json) out.document(answer);
    out.print(answer.state === 'ended' ? 'It had ended before.' : 'Ended, with everything it had started.');
    return EXIT.ok;
  }
  // The node checks the name against those that can be sent.
  const named = `SIG${signal.toUpperCase().replace(/^SIG/, '')}` as JobSignal;
  const answer = await client.call('job.signal', { jobId, signal: named }, { peer });
  if (out.json) out.document(answer);
  out.print(answer.delivered ? `Sent ${named}.` : 'It had ended before.');
  return EXIT.ok;
};

export const commands: Commands = {
  'jobs list': list,
  'jobs show': show,
  'jobs attach': attach,
  'jobs wait': wait,
  'jobs kill': kill,
};
