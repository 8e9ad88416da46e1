import type { AuditRecord } from '../../protocol/audit.ts';
import { decodeJson } from '../../client/client.ts';
import { itemsOf, pagesOf } from '../../client/pages.ts';
import { EXIT } from '../../protocol/errors.ts';
import { FRAME } from '../../protocol/frames.ts';
import { parseFields } from '../../protocol/record.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { followLog } from '../follow-log.ts';
import { callerWords } from '../known-names.ts';
import { localTime, plain, type Paint } from '../output.ts';
import { usageError } from '../parse.ts';
import { parseSince } from '../values.ts';

const logs: Command = async (cli) => {
  if (cli.invocation.has('node')) return nodeLog(cli);
  const { invocation, out } = cli;
  const filter = filterOf(cli);
  const node = await cli.node();
  const { client } = node;
  if (invocation.has('follow')) {
    const by = out.json ? plain : await callerWords(node, ['peer:']);
    for await (const { type, bytes } of client.stream('audit.follow', filter)) {
      // The node encodes each record by its schema.
      if (type === FRAME.event) showRecord(cli, decodeJson(bytes) as AuditRecord, by);
    }
    return EXIT.ok;
  }
  const input = { ...filter, limit: 1000 };
  const records = await itemsOf(pagesOf(client, 'audit.list', { input }), (page) => page.records);
  if (out.json) out.document({ records });
  if (records.length === 0) out.print('Nothing like that is in the audit log.');
  // The newest come first on the wire, and last where people read.
  if (out.json) return EXIT.ok;
  const by = await callerWords(
    node,
    records.map(({ caller }) => caller),
  );
  records.toReversed().forEach((record) => showRecord(cli, record, by));
  return EXIT.ok;
};

const filterOf = ({ invocation, io }: Cli) => {
  const peer = invocation.value('peer');
  const operation = invocation.value('operation');
  const since = invocation.value('since');
  return {
    ...(peer === undefined ? {} : { node: peer }),
    ...(operation === undefined ? {} : { operation }),
    ...(since === undefined ? {} : { since: parseSince(since, io.clock.now()) }),
    ...(invocation.has('denied') ? { denied: 'true' } : {}),
  };
};

const showRecord = ({ out }: Cli, record: AuditRecord, by: (caller: string) => string): void => {
  if (out.json) out.document(record);
  else out.print(recordLine({ ...record, caller: by(record.caller) }, out.paint));
};

/** Fields that stand in their own place, or say nothing to people. */
const PLACED = new Set([
  'timestamp',
  'requestId',
  'caller',
  'fromIp',
  'operation',
  'method',
  'path',
  'peer',
  'decision',
  'statusCode',
  'duration',
  'count',
]);

const recordLine = (record: AuditRecord, paint: Paint): string => {
  const audited = Object.fromEntries(Object.entries(record).filter(([name]) => !PLACED.has(name)));
  const allowed = record.decision === 'allowed';
  return [
    paint.dim(localTime(record.timestamp)),
    plain(record.caller),
    paint.bold(plain(record.operation)),
    ...(record.peer === undefined ? [] : [`on ${plain(record.peer)}`]),
    allowed ? paint.dim(`${Math.round(record.duration)} ms`) : paint.red(plain(record.decision)),
    ...(record.count === undefined ? [] : [`×${record.count}`]),
    ...(allowed ? [] : [`from ${plain(record.fromIp)}`]),
    plain(wordsOf(audited)),
  ]
    .filter((part) => part !== '')
    .join('  ');
};

/** The node's own log, which is there when the node is not, too. */
const nodeLog = async (cli: Cli): Promise<number> => {
  const { invocation, out, paths } = cli;
  const other = ['peer', 'operation', 'since', 'denied'].find((option) => invocation.has(option));
  if (other !== undefined) throw usageError(`--${other} is for the audit log, and --node shows the node's own`);
  const lines = followLog(paths.nodeLog, { follow: invocation.has('follow'), clock: cli.io.clock });
  let shown = 0;
  for await (const line of lines) {
    shown += 1;
    if (out.json) cli.io.stdout.write(`${line}\n`);
    else out.print(logLine(line, out.paint));
  }
  if (shown === 0) out.print(`The node has written nothing to ${plain(paths.nodeLog)} yet.`);
  return EXIT.ok;
};

/** One line of the node's log as a sentence; what is no such line stays as it is. */
const logLine = (line: string, paint: Paint): string => {
  const { time, level, event, ...rest } = parseFields(line) ?? {};
  if (typeof time !== 'string' || typeof level !== 'string' || typeof event !== 'string') return plain(line);
  const colours: Readonly<Record<string, (text: string) => string>> = { error: paint.red, warn: paint.yellow };
  const at = Date.parse(time);
  return [
    paint.dim(Number.isNaN(at) ? plain(time) : localTime(at)),
    (colours[level] ?? paint.dim)(plain(level)),
    paint.bold(plain(event)),
    plain(wordsOf(rest)),
  ]
    .join('  ')
    .trimEnd();
};

const wordsOf = (fields: Readonly<Record<string, unknown>>): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');

export const commands: Commands = { logs };
