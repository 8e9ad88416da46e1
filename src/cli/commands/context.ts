import { pagesOf } from '../../client/pages.ts';
import { EXIT, type LoopsyError } from '../../protocol/errors.ts';
import type { InputOf, OutputOf } from '../../protocol/operations.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { followed } from '../followed.ts';
import { callerWords } from '../known-names.ts';
import { duration, localTime, plain, size, table } from '../output.ts';
import { usageError } from '../parse.ts';
import { type Counts, countWords, importLines } from '../context-import.ts';
import { on, there, ttlOf } from '../context-options.ts';
import { Pace } from '../pace.ts';
import { readText } from '../read-text.ts';
import { untilInterrupted } from '../transfer-stream.ts';
import { parseNumber } from '../values.ts';

type Entry = OutputOf<'context.get'>;

const TEXT = { maxBytes: 1_048_576, tooMuch: 'a value has at most 1 MiB' };

const revisionOf = ({ invocation }: Cli): { ifRevision?: number } => {
  const revision = invocation.value('if-revision');
  return revision === undefined ? {} : { ifRevision: parseNumber(revision, 'if-revision') };
};

/** The value that was typed, or stdin. */
const valueOf = async (cli: Cli): Promise<string> => {
  const [, value = ''] = cli.invocation.args;
  return value === '-' ? readText(cli.io.stdin(), TEXT) : value;
};

const set: Command = async (cli) => {
  const { invocation, out } = cli;
  const [key = ''] = invocation.args;
  const input: InputOf<'context.set'> = { key, value: await valueOf(cli), ...ttlOf(cli), ...revisionOf(cli) };
  const { client } = await cli.node();
  const entry = await client.call('context.set', input, on(cli));
  if (out.json) out.document(entry);
  const until = entry.expiresAt === undefined ? '' : `, until ${localTime(entry.expiresAt)}`;
  out.print(`Set ${plain(key)}${there(cli)} (revision ${entry.revision}${until}).`);
  return EXIT.ok;
};

const get: Command = async (cli) => {
  const [key = ''] = cli.invocation.args;
  const { client } = await cli.node();
  const entry = await client.call('context.get', { key }, on(cli));
  if (cli.out.json) cli.out.document(entry);
  else await cli.io.stdout.writeBytes(Buffer.from(cli.io.stdout.isTTY === true ? `${entry.value}\n` : entry.value));
  return EXIT.ok;
};

const remove: Command = async (cli) => {
  const { invocation, out } = cli;
  const [key = ''] = invocation.args;
  const { client } = await cli.node();
  const answer = await client.call('context.delete', { key, ...revisionOf(cli) }, on(cli));
  if (out.json) out.document(answer);
  out.print(`Deleted ${plain(key)}${there(cli)}.`);
  return EXIT.ok;
};

const SHOWN = 48;

/** The beginning of a key or a value, in one line. */
const glimpse = (text: string): string => {
  const [line = ''] = text.split(/\r?\n/, 1);
  const cut = line.length > SHOWN ? line.slice(0, SHOWN) : line;
  return plain(cut) + (cut.length < text.length ? '…' : '');
};

const list: Command = async (cli) => {
  const { invocation, out } = cli;
  const [prefix] = invocation.args;
  const node = await cli.node();
  const input = { limit: 1000, ...(prefix === undefined ? {} : { prefix }) };
  const now = cli.io.clock.now();
  let shown = 0;
  const rows: string[][] = [];
  const entries: Entry[] = [];
  for await (const page of pagesOf(node.client, 'context.list', { input, ...on(cli) })) {
    shown += page.entries.length;
    if (out.json) entries.push(...page.entries);
    else rows.push(...page.entries.map((entry) => rowOf(entry, now)));
  }
  if (out.json) out.document({ entries });
  if (shown === 0)
    out.print(
      prefix === undefined ? `The context${there(cli)} is empty.` : `No key begins with ${plain(prefix)}${there(cli)}.`,
    );
  else
    out.print(
      ...table([['KEY', 'VALUE', 'SIZE', 'LEFT', 'REVISION', 'BY'], ...rows.map(await named(node, rows))], out.paint),
    );
  return EXIT.ok;
};

const BY = 5;

/** Ids of nodes as their names here. */
const named = async (
  node: Awaited<ReturnType<Cli['node']>>,
  rows: readonly (readonly string[])[],
): Promise<(row: string[]) => string[]> => {
  const by = await callerWords(
    node,
    rows.map((row) => `peer:${row[BY]?.split(' ')[0] ?? ''}`),
  );
  return (row) => {
    const [nodeId = '', ...agent] = (row[BY] ?? '').split(' ');
    return [...row.slice(0, BY), plain([by(`peer:${nodeId}`), ...agent].join(' '))];
  };
};

const rowOf = ({ key, value, expiresAt, revision, fromNodeId, agent }: Entry, now: number): string[] => [
  glimpse(key),
  glimpse(value),
  size(Buffer.byteLength(value)),
  expiresAt === undefined ? '' : duration(Math.max(0, expiresAt - now)),
  String(revision),
  [fromNodeId, ...(agent === undefined ? [] : [`(${agent})`])].join(' '),
];

const watch: Command = async (cli) => {
  const { invocation, out } = cli;
  const [prefix] = invocation.args;
  const key = invocation.value('key');
  const since = invocation.value('since');
  if (key !== undefined && prefix !== undefined) throw usageError('a key or a prefix is watched, not both');
  const node = await cli.node();
  const input = {
    ...(prefix === undefined ? {} : { prefix }),
    ...(key === undefined ? {} : { key }),
    ...(since === undefined ? {} : { since: parseNumber(since, 'since') }),
  };
  const note = 'changes are told again when it is back';
  for await (const event of followed(cli, node, { id: 'context.watch', input, options: on(cli), note })) {
    if (out.json) out.document(event);
    else out.print(...eventLines(event, cli));
  }
  return EXIT.ok;
};

const eventLines = (event: OutputOf<'context.watch'>, { out: { paint }, io }: Cli): string[] => {
  const time = paint.dim(localTime(io.clock.now()));
  // What shows how things are has none: who goes on begins with that anew.
  const cursor = event.cursor === 0 ? '' : `  ${paint.dim(`(cursor ${event.cursor})`)}`;
  switch (event.type) {
    case 'set':
      return [`${time}  ${paint.bold(plain(event.entry.key))} = ${glimpse(event.entry.value)}${cursor}`];
    case 'delete':
      return [
        `${time}  ${paint.bold(plain(event.key))} ${event.expired === true ? 'has expired' : 'was deleted'}${cursor}`,
      ];
    case 'compacted':
      return [`${time}  ${paint.yellow('changes were missed: this is how things are now')}`];
    case 'ready':
      return [`${time}  ${paint.dim('this is how things are; each change follows')}${cursor}`];
    case 'snapshot':
      return [];
  }
};

const broadcast: Command = async (cli) => {
  const { invocation, out } = cli;
  const [key = ''] = invocation.args;
  const value = await valueOf(cli);
  const { client } = await cli.node();
  const answer = await client.call('context.broadcast', { key, value, ...ttlOf(cli) });
  const { results } = answer;
  const missed = results.filter(({ success }) => !success).length;
  if (out.json) out.document(answer);
  else if (results.length === 0) out.print('There is no peer to tell. `loopsy pair` finds the first one.');
  else {
    const rows = results.map(({ peer, success, error }) => [
      plain(peer),
      success ? 'has it' : plain(error?.message ?? ''),
    ]);
    out.print(...table([['PEER', plain(key)], ...rows], out.paint));
  }
  return missed === 0 && results.length > 0 ? EXIT.ok : EXIT.failed;
};

/** What is left of its life, s; never more than it was given, wherever the clocks are. */
const leftOf = ({ ttl, expiresAt }: Entry, now: number): number | undefined => {
  if (ttl === undefined || expiresAt === undefined) return undefined;
  return Math.min(ttl, Math.max(1, Math.ceil((expiresAt - now) / 1000)));
};

const exportAll: Command = async (cli) => {
  const [prefix] = cli.invocation.args;
  const { client } = await cli.node();
  const input = { limit: 1000, ...(prefix === undefined ? {} : { prefix }) };
  for await (const page of pagesOf(client, 'context.list', { input, ...on(cli) })) {
    const now = cli.io.clock.now();
    const lines = page.entries.map((entry) => {
      const { key, value } = entry;
      return `${JSON.stringify({ key, value, ttl: leftOf(entry, now) })}\n`;
    });
    await cli.io.stdout.writeBytes(Buffer.from(lines.join('')));
  }
  return EXIT.ok;
};

/** How often an import that has to wait says how far it is. */
const TOLD_MS = 60_000;

/** Says that an import waits, and now and then how far it is. */
const waitWords = ({ io: { clock }, out }: Cli, counts: Counts): ((refusal: LoopsyError) => void) => {
  let toldAt: number | undefined;
  return ({ message }) => {
    const now = clock.monotonicMs();
    if (toldAt !== undefined && now - toldAt < TOLD_MS) return;
    const why = toldAt === undefined ? `${plain(message)}: going on as fast as the node takes them; ` : '';
    out.note(`${why}${countWords(counts)}`);
    toldAt = now;
  };
};

const importAll: Command = async (cli) => {
  const { invocation, io, out } = cli;
  const { impatient } = await cli.node();
  const keep = invocation.has('no-clobber');
  const counts: Counts = { set: 0, kept: 0 };
  return untilInterrupted(
    cli,
    () => `loopsy: stopped; ${countWords(counts)}`,
    async (signal) => {
      const pace = new Pace({ clock: io.clock, signal, onWait: waitWords(cli, counts) });
      const set = (input: InputOf<'context.set'>): Promise<unknown> =>
        pace.run(() => impatient.call('context.set', { ...input, ...(keep ? { ifRevision: 0 } : {}) }, on(cli)));
      const isKept = (error: LoopsyError): boolean => keep && error.error === 'context_conflict';
      await importLines(io.stdin(), { set, isKept, counts, clock: io.clock, signal });
      if (out.json) out.document(counts);
      const kept = counts.kept === 0 ? '' : `, ${counts.kept} were there already`;
      out.print(`Set ${counts.set} ${counts.set === 1 ? 'key' : 'keys'}${there(cli)}${kept}.`);
      return EXIT.ok;
    },
  );
};

export const commands: Commands = {
  'context set': set,
  'context get': get,
  'context list': list,
  'context delete': remove,
  'context watch': watch,
  'context broadcast': broadcast,
  'context export': exportAll,
  'context import': importAll,
};
