import { EXIT } from '../../protocol/errors.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { Check } from '../../protocol/system.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { versionNote, type LocalNode } from '../connect.ts';
import { checkConfig, checkModes, checkUser, passed } from '../local-checks.ts';
import { asError, duration, plain, type Paint } from '../output.ts';
import { bringUp } from '../start.ts';

/** A clock that is further off makes expiry and logs misleading. */
const MAX_SKEW_MS = 5000;
const PINGS_AT_ONCE = 8;

const doctor: Command = async (cli) => {
  const fix = cli.invocation.has('fix');
  const checks = [checkConfig(cli), checkUser(cli), ...checkModes(cli, fix)];
  const node = await reach(cli, checks, fix);
  if (node !== undefined) {
    checks.push(...(await node.client.call('system.doctor', {})).checks);
    checks.push(...(await checkPeers(node)));
  }
  if (cli.out.json) cli.out.document({ checks });
  cli.out.print(...checks.flatMap((check) => checkLines(check, cli.out.paint)), '', summary(checks));
  return checks.some(({ level }) => level === 'error') ? EXIT.failed : EXIT.ok;
};

/** The running node; where there is none, a check that says so. */
const reach = async (cli: Cli, checks: Check[], fix: boolean): Promise<LocalNode | undefined> => {
  try {
    const node = await cli.node().catch(async (thrown: unknown) => {
      if (!fix || asError(thrown).error !== 'node_not_running') throw thrown;
      await bringUp(cli);
      return cli.node();
    });
    const note = versionNote(node.health.version);
    const { port, pid } = node.registration;
    const detail = `up for ${duration(node.health.uptime)} on port ${port} (pid ${pid})`;
    checks.push(
      note === undefined ? passed('node', detail) : { name: 'node', ok: true, level: 'warning', detail: note },
    );
    return node;
  } catch (thrown) {
    const { message, hint } = asError(thrown);
    checks.push({
      name: 'node',
      ok: false,
      level: 'error',
      detail: message,
      ...(hint === undefined ? {} : { fix: hint }),
    });
    return undefined;
  }
};

/** Every trusted peer: reachable, pinned, clock, version, latency. */
const checkPeers = async ({ client, health }: LocalNode): Promise<Check[]> => {
  const { peers } = await client.call('peer.list', {});
  const trusted = peers.filter((peer) => peer.trusted);
  const checks: Check[] = [];
  for (let at = 0; at < trusted.length; at += PINGS_AT_ONCE) {
    const some = trusted.slice(at, at + PINGS_AT_ONCE);
    checks.push(...(await Promise.all(some.map((peer) => checkPeer(client, peer, health.version)))));
  }
  return checks;
};

const checkPeer = async (client: LocalNode['client'], peer: Peer, ownVersion: string): Promise<Check> => {
  const name = `peer ${peer.name}`;
  try {
    const { latencyMs, clockSkewMs, version } = await client.call('peer.ping', { nodeId: peer.nodeId ?? peer.name });
    const detail = `answers in ${latencyMs.toFixed(1)} ms, loopsy ${version}`;
    if (Math.abs(clockSkewMs) > MAX_SKEW_MS) {
      const off = `${duration(Math.abs(clockSkewMs))} ${clockSkewMs > 0 ? 'ahead' : 'behind'}`;
      return {
        name,
        ok: true,
        level: 'warning',
        detail: `${detail}; its clock is ${off}`,
        fix: 'set both clocks by NTP',
      };
    }
    if (version !== ownVersion)
      return { name, ok: true, level: 'warning', detail, fix: `this node is ${ownVersion}: update the older one` };
    return passed(name, detail);
  } catch (thrown) {
    const { message, hint } = asError(thrown);
    return { name, ok: false, level: 'error', detail: message, ...(hint === undefined ? {} : { fix: hint }) };
  }
};

const checkLines = ({ name, level, detail, fix }: Check, paint: Paint): string[] => {
  const mark = { ok: paint.green('✓'), warning: paint.yellow('!'), error: paint.red('✗') }[level];
  return [
    `${mark} ${paint.bold(plain(name))}: ${plain(detail)}`,
    ...(fix === undefined || level === 'ok' ? [] : [`    ${paint.dim(plain(fix))}`]),
  ];
};

const summary = (checks: readonly Check[]): string => {
  const count = (level: Check['level']): number => checks.filter((check) => check.level === level).length;
  if (count('error') > 0) return `${count('error')} of ${checks.length} checks failed.`;
  return count('warning') > 0 ? `All works; ${count('warning')} to look at.` : 'All is well.';
};

export const commands: Commands = { doctor };
