import { sleep } from '../kernel/sleep.ts';
import { EXIT, LoopsyError } from '../protocol/errors.ts';
import type { InputOf, OutputOf } from '../protocol/operations.ts';
import type { Ask } from './ask.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { errorLines, plain } from './output.ts';
import {
  clashLines,
  consequences,
  failureOf,
  machineLine,
  numberLines,
  perhapsKept,
  showDigits,
  silent,
} from './pairing-texts.ts';

type Status = OutputOf<'pair.status'>;
type Peer = NonNullable<Status['peer']>;

/** One run of `loopsy pair`, from the open code or the entered one to its end. */
export interface PairRun {
  readonly cli: Cli;
  readonly node: LocalNode;
  readonly role: 'host' | 'joiner';
  /** The node's name of it: another command's pairing is none of this one's business. */
  readonly id: string;
  /** Undefined: the person said yes beforehand. */
  readonly ask: Ask | undefined;
  /** What the person chose with the command. */
  readonly choices: Pick<InputOf<'pair.confirm'>, 'name' | 'grant' | 'folders'>;
  /** What this side will let the other do, in words: `may …`. */
  readonly words: string;
  /** Nobody at this side says yes: an invitation did. */
  readonly standingYes: boolean;
  /** The digits that are shown already. */
  readonly code?: string;
}

const WAIT_MS = 20_000;
/** The other person has 300 s; then a little for the way. */
const PATIENCE_MS = 330_000;
/** Before a yes is said again that nobody is asked for. */
const AGAIN_MS = 3000;

/** Follows a pairing to its end. Ctrl-C cancels it, on both sides. @returns the exit code. */
export const followPairing = async (run: PairRun): Promise<number> => {
  const stop = new AbortController();
  const takeBack = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) =>
    run.cli.io.onSignal(signal, () => stop.abort()),
  );
  try {
    return await new Follow(run, stop).run();
  } catch (thrown) {
    if (stop.signal.aborted) return await cancel(run);
    throw thrown;
  } finally {
    for (const one of takeBack) one();
  }
};

/** Gives the pairing up. What was said yes to can't be unsaid. */
const cancel = async ({ cli, node, role, id }: PairRun): Promise<number> => {
  try {
    const { message } = await node.client.call('pair.confirm', { confirmed: false, role, id });
    cli.out.note(`Cancelled: ${plain(message)}.`);
  } catch (thrown) {
    if (!(thrown instanceof LoopsyError) || thrown.error !== 'conflict') throw thrown;
    cli.out.note(`Not waiting any more: ${plain(thrown.message)}.`);
    if (thrown.hint !== undefined) cli.out.note(`  ${plain(thrown.hint)}`);
  }
  return EXIT.failed;
};

class Follow {
  readonly #run: PairRun;
  readonly #stop: AbortController;
  readonly #said = new Set<string>();
  #code: string | undefined;
  #trouble: string | undefined;
  #answered = false;
  #waitUntil = Infinity;

  constructor(run: PairRun, stop: AbortController) {
    this.#run = run;
    this.#stop = stop;
    this.#code = run.code;
  }

  async run(): Promise<number> {
    let status = await this.#look(undefined);
    for (;;) {
      const end = this.#end(status);
      if (end !== undefined) return end;
      this.#show(status);
      const isAsked = status.state === 'confirm' && !this.#answered && !this.#run.standingYes;
      if (isAsked) await this.#answer(status);
      status = await this.#look(isAsked ? undefined : status.revision);
    }
  }

  async #look(since: number | undefined): Promise<Status> {
    const { cli, node, role, id } = this.#run;
    if (cli.io.clock.monotonicMs() > this.#waitUntil) throw silent(role);
    const input = since === undefined ? { role, id } : { role, id, wait: WAIT_MS, since };
    return node.client.call('pair.status', input, { signal: this.#stop.signal });
  }

  #end(status: Status): number | undefined {
    const { cli } = this.#run;
    const { state, peer } = status;
    if (state === 'failed') throw failureOf(status);
    if (state === 'idle')
      throw new LoopsyError('pair_expired', { message: 'the node knows nothing of this pairing any more' });
    if (state !== 'completed') return undefined;
    const name = plain(peer?.name ?? '');
    if (cli.out.json) cli.out.document(status);
    cli.out.print(
      `${cli.out.paint.green('✓')} Paired with ${cli.out.paint.bold(name)}.`,
      `Try: loopsy exec ${name} hostname, or loopsy selftest ${name}`,
    );
    return EXIT.ok;
  }

  #show({ inviteCode, killedBy = [], state, bothSaidYes, peer, trouble }: Status): void {
    const { cli } = this.#run;
    if (inviteCode !== undefined && inviteCode !== this.#code && killedBy.length > 0) {
      this.#code = inviteCode;
      if (cli.out.json) cli.out.document({ inviteCode, killedBy });
      cli.out.print(`Wrong codes came, from ${plain(killedBy.join(', '))}: the old code is dead. The new one:`);
      showDigits(cli, inviteCode);
    }
    if (state === 'waiting-peer' && peer !== undefined) {
      const name = plain(peer.name);
      const text =
        bothSaidYes === true ? `You both said yes; waiting for ${name} to answer.` : `Waiting for ${name} to say yes.`;
      this.#say(text);
    }
    // Before a question stands what it is about, and why an answer could not be kept.
    if (trouble === undefined || trouble === this.#trouble || state === 'confirm') return;
    this.#trouble = trouble;
    cli.out.note(plain(trouble));
  }

  /** Said once. */
  #say(text: string): void {
    if (this.#said.has(text)) return;
    this.#said.add(text);
    this.#run.cli.out.print(text);
  }

  async #answer(status: Status): Promise<void> {
    const { node, role, id } = this.#run;
    const { sas = '', peer } = status;
    if (peer === undefined) return;
    const asked =
      this.#run.ask === undefined ? this.#unasked(status, peer) : await this.#person(this.#run.ask, status, peer);
    if (asked === undefined) return;
    if (asked === 'no') {
      await node.client.call('pair.confirm', { confirmed: false, role, id });
      return;
    }
    const replace = asked === 'replace' ? { replace: true } : {};
    this.#answered = await this.#sayYes({ confirmed: true, role, id, sas, ...replace });
    this.#waitUntil = this.#run.cli.io.clock.monotonicMs() + PATIENCE_MS;
  }

  /** @returns false where it could not be kept: then the question stands again. */
  async #sayYes(yes: InputOf<'pair.confirm'>): Promise<boolean> {
    const { node, cli, ask } = this.#run;
    try {
      await node.client.call('pair.confirm', yes);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof LoopsyError)) throw thrown;
      if (thrown.error === 'outcome_unknown') throw perhapsKept(thrown);
      const isOpen = thrown.error === 'internal' && (await this.#look(undefined)).state === 'confirm';
      if (!isOpen) throw thrown;
      for (const line of errorLines(thrown.toBody(), cli.out.paint)) cli.out.note(line);
      if (ask === undefined) await sleep(AGAIN_MS, cli.io.clock);
      return false;
    }
  }

  #unasked({ invited }: Status, peer: Peer): 'yes' {
    const { out } = this.#run.cli;
    out.print(machineLine(peer, out.paint), ...consequences(peer, this.#run));
    if (peer.clash !== undefined) out.print(...clashLines(peer.clash, peer));
    if (invited !== true) out.note('The numbers were not compared: the code alone was the protection.');
    return 'yes';
  }

  /** @returns undefined where the other side ended it meanwhile. */
  async #person(ask: Ask, status: Status, peer: Peer): Promise<'yes' | 'no' | 'replace' | undefined> {
    const { out } = this.#run.cli;
    const isInvited = status.invited === true;
    const name = plain(peer.proposedName);
    out.print(
      '',
      machineLine(peer, out.paint),
      ...(isInvited ? ['It made the invitation: there is no number to compare.'] : numberLines(status, out.paint)),
      ...consequences(peer, this.#run),
    );
    const over = new AbortController();
    const watch = this.#watchEnd(status.revision, over);
    const replaces = await this.#clash(ask, peer, over.signal);
    const yes =
      replaces === undefined
        ? undefined
        : await ask.confirm(
            isInvited ? `Do you trust ${name}?` : `Is the number there the same, and do you trust ${name}?`,
            over.signal,
          );
    const wasOver = over.signal.aborted;
    over.abort();
    await watch;
    if (wasOver) return undefined;
    if (yes === undefined) this.#stop.abort();
    this.#stop.signal.throwIfAborted();
    return yes !== true ? 'no' : replaces === true ? 'replace' : 'yes';
  }

  async #clash(ask: Ask, peer: Peer, signal: AbortSignal): Promise<boolean | undefined> {
    if (peer.clash === undefined) return false;
    const [first = '', last = ''] = clashLines(peer.clash, peer);
    this.#run.cli.out.print('', first, `No: ${last} Yes drops the trust in the old one.`);
    return ask.confirm(`Replace the old ${plain(peer.clash.name)}?`, signal);
  }

  /** Takes the question back where the other side ends it. */
  async #watchEnd(revision: number, over: AbortController): Promise<void> {
    const { node, role, id } = this.#run;
    let since = revision;
    while (!over.signal.aborted) {
      try {
        const status = await node.client.call(
          'pair.status',
          { role, id, wait: WAIT_MS, since },
          { signal: over.signal },
        );
        since = status.revision;
        if (status.state !== 'confirm') over.abort();
      } catch {
        // The node went away, or the question was answered: what is asked next says which.
        return;
      }
    }
  }
}
