import { pagesOf } from '../../client/pages.ts';
import { sleep } from '../../kernel/sleep.ts';
import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { OutputOf } from '../../protocol/operations.ts';
import { Absence } from '../absence.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { on, there, ttlOf } from '../context-options.ts';
import { isAway } from '../followed.ts';
import { callerWords } from '../known-names.ts';
import { localTime, plain, table } from '../output.ts';
import { parseNumber, parseSpan } from '../values.ts';

const DEFAULT_LEASE_S = 60;
const LIVES = 'it is held for a minute';
const ASK_AGAIN_MS = 1000;
/** A peer counts what is asked of it, by all on this machine. */
const ASK_PEER_AGAIN_MS = 3000;

const showLease = async (cli: Cli, lease: OutputOf<'lease.acquire'>, verb: string): Promise<number> => {
  if (cli.out.json) cli.out.document(lease);
  const { name, fence, expiresAt } = lease;
  cli.out.print(`${verb} ${plain(name)}${there(cli)}, until ${localTime(expiresAt)} (fence ${fence}).`);
  return EXIT.ok;
};

const acquire: Command = async (cli) => {
  const { invocation, io, out } = cli;
  const [name = ''] = invocation.args;
  const wait = invocation.value('wait');
  const endAtMs = io.clock.monotonicMs() + (wait === undefined ? 0 : parseSpan(wait, 'wait'));
  const input = { ttl: DEFAULT_LEASE_S, ...ttlOf(cli, LIVES), name };
  const away = new Absence(cli, 'the lease is asked for again when it is back', out.note);
  const { signal } = new AbortController();
  let node = await cli.node();
  for (let said = ''; ;) {
    try {
      const lease = await node.client.call('lease.acquire', input, on(cli));
      await showLease(cli, lease, 'You hold');
      out.print(...nextSteps(cli, lease));
      return EXIT.ok;
    } catch (thrown) {
      const left = endAtMs - io.clock.monotonicMs();
      const againMs = on(cli).peer === undefined ? ASK_AGAIN_MS : ASK_PEER_AGAIN_MS;
      if (!(thrown instanceof LoopsyError) || left <= 0 || !mayEnd(thrown)) throw thrown;
      if (isAway(thrown)) {
        node = await away.wait({ signal, why: thrown, endAtMs });
        continue;
      }
      away.over();
      if (said !== thrown.error && !out.json) out.note(`waiting: ${plain(thrown.message)}`);
      said = thrown.error;
      await sleep(Math.min(left, againMs), io.clock);
    }
  }
};

/** What keeps a lease from being taken now, and may be over soon. */
const WAITED_OUT: ReadonlySet<string> = new Set([
  'lease_held',
  'rate_limited',
  'peer_offline',
  'peer_unreachable',
  'outcome_unknown',
]);

const mayEnd = (thrown: LoopsyError): boolean => WAITED_OUT.has(thrown.error) || isAway(thrown);

/** What its holder does with it, to be typed. */
const nextSteps = (cli: Cli, { name, fence }: OutputOf<'lease.acquire'>): string[] => {
  const { peer } = on(cli);
  const which = `${shellWord(name)}${peer === undefined ? '' : ` --peer ${shellWord(peer)}`} --fence ${fence}`;
  return [
    `  for longer:  loopsy context lease renew ${which}`,
    `  give back:   loopsy context lease release ${which}`,
  ].map(cli.out.paint.dim);
};

const shellWord = (text: string): string =>
  /^[\w./:@][\w./:@-]*$/.test(text) ? text : `'${plain(text).replaceAll("'", String.raw`'\''`)}'`;

/** Which hold is meant, where several on this machine may have one. */
const fenceOf = ({ invocation }: Cli): { fence?: number } => {
  const fence = invocation.value('fence');
  return fence === undefined ? {} : { fence: parseNumber(fence, 'fence') };
};

const renew: Command = async (cli) => {
  const [name = ''] = cli.invocation.args;
  const input = { ttl: DEFAULT_LEASE_S, ...ttlOf(cli, LIVES), ...fenceOf(cli), name };
  const { client } = await cli.node();
  return showLease(cli, await client.call('lease.renew', input, on(cli)), 'You still hold');
};

const release: Command = async (cli) => {
  const { invocation } = cli;
  const [name = ''] = invocation.args;
  const which = { ...fenceOf(cli), ...(invocation.has('force') ? { force: 'true' } : {}) };
  const { client } = await cli.node();
  const answer = await client.call('lease.release', { name, ...which }, on(cli));
  if (cli.out.json) cli.out.document(answer);
  cli.out.print(`Released ${plain(name)}${there(cli)}.`);
  return EXIT.ok;
};

const leases: Command = async (cli) => {
  const { out } = cli;
  const node = await cli.node();
  const all: OutputOf<'lease.list'>['leases'] = [];
  for await (const page of pagesOf(node.client, 'lease.list', { input: { limit: 1000 }, ...on(cli) }))
    all.push(...page.leases);
  if (out.json) out.document({ leases: all });
  if (all.length === 0) {
    out.print(`No lease is held${there(cli)}.`);
    return EXIT.ok;
  }
  const by = await callerWords(
    node,
    all.map(({ owner }) => owner.split(' ')[0] ?? ''),
  );
  const rows = all.map(({ name, owner, expiresAt, fence }) => {
    const [caller = '', ...agent] = owner.split(' ');
    return [plain(name), plain([by(caller), ...agent].join(' ')), localTime(expiresAt), String(fence)];
  });
  out.print(...table([['LEASE', 'HELD BY', 'UNTIL', 'FENCE'], ...rows], out.paint));
  return EXIT.ok;
};

export const commands: Commands = {
  'context lease list': leases,
  'context lease acquire': acquire,
  'context lease renew': renew,
  'context lease release': release,
};
