import { readRegistration } from '../../config/read-registration.ts';
import { EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { connectNode, type LocalNode } from '../connect.ts';
import { count, plain, type Paint } from '../output.ts';
import type { Bench } from '../selftest/check.ts';
import { CHECKS } from '../selftest/checks.ts';
import { runChecks, type CheckResult } from '../selftest/run.ts';
import { peerNamed } from '../values.ts';

/** The node that is tested. */
interface Tested {
  /** How commands name it; undefined: this machine's own. */
  readonly peer: string | undefined;
  readonly name: string;
  readonly platform: string;
}

const selftest: Command = async (cli) => {
  const { io, out } = cli;
  let waits = 0;
  const node = await connect(cli, (text) => {
    waits += 1;
    out.note(text);
  });
  const tested = await findTested(cli, node);
  const bench: Omit<Bench, 'signal'> = {
    client: node.client,
    peer: tested.peer,
    platform: tested.platform,
    local: io,
    clock: io.clock,
    hadToWait: () => {
      const before = waits;
      waits = 0;
      return before > 0;
    },
  };
  out.print(out.paint.bold(`Self-test of ${tested.peer === undefined ? 'this node' : plain(tested.name)}`));
  const begun = io.clock.monotonicMs();
  const checks = await runChecks(CHECKS, bench, (result) => out.print(...linesOf(result, out.paint)));
  const durationMs = Math.round(io.clock.monotonicMs() - begun);
  const failed = checks.filter(({ state }) => state === 'failed').length;
  if (out.json)
    out.document({ peer: tested.peer === undefined ? null : tested.name, ok: failed === 0, durationMs, checks });
  out.print(
    '',
    failed === 0
      ? `All ${count(checks.length, 'check')} passed, in ${(durationMs / 1000).toFixed(1)} s.`
      : `${failed} of ${count(checks.length, 'check')} failed.`,
  );
  return failed === 0 ? EXIT.ok : EXIT.failed;
};

/** As commands do, but every wait that the node asks for is counted. */
const connect = async (cli: Cli, note: (text: string) => void): Promise<LocalNode> => {
  const registration = readRegistration(cli.paths);
  if (registration === undefined) return cli.node();
  return connectNode({ registration, apiKey: cli.io.env['LOOPSY_API_KEY'] || undefined, note });
};

/** The peer must be known and trusted; whether it is there, the first check finds out. */
const findTested = async ({ invocation, io }: Cli, { client }: LocalNode): Promise<Tested> => {
  const peer = peerNamed(invocation.args[0]);
  if (peer === undefined) return { peer, name: 'localhost', platform: io.platform };
  const { name, platform, trusted, reason } = await client.call('peer.show', { nodeId: peer });
  if (trusted) return { peer, name, platform: platform ?? 'linux' };
  throw new LoopsyError('peer_not_found', {
    message: `${plain(name)} is not trusted here`,
    hint: reason ?? '`loopsy pair` makes two machines trust each other',
  });
};

const linesOf = ({ name, state, detail, hint }: CheckResult, paint: Paint): string[] => {
  const mark = { passed: paint.green('✓'), failed: paint.red('✗'), skipped: paint.dim('-') }[state];
  const text = `${mark} ${name.padEnd(NAME_WIDTH)}  ${plain(detail)}`;
  return hint === undefined ? [text] : [text, `  ${' '.repeat(NAME_WIDTH)}  ${paint.dim(plain(hint))}`];
};

const NAME_WIDTH = Math.max(...CHECKS.map(({ name }) => name.length));

export const commands: Commands = { selftest };
