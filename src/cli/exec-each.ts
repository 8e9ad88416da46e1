import type { Timer } from '../kernel/clock.ts';
import type { Cli } from './cli.ts';
import { failureOf, fewNames, type Ending } from './exec-table.ts';
import type { Target } from './exec-targets.ts';
import { asError } from './output.ts';

/** Machines that are asked at once; one that has answered no longer counts, so that those that hang hold up no other. */
const MAX_ASKED_AT_ONCE = 64;
/** One from which nothing came for so long is named when half of all are done; looked for that often. */
const SILENT_MS = 3000;
const LOOK_MS = 500;

/** What is done on one machine. Calls `heard` whenever something comes from there. */
export type Work = (target: Target, heard: () => void) => Promise<Omit<Ending, 'name' | 'durationMs'>>;

/** Does it on each machine that is there. Never throws: what goes wrong on one is that one's ending. */
export const onEach = async (cli: Cli, targets: readonly Target[], work: Work): Promise<Ending[]> => {
  const present = targets.filter(({ absent }) => absent === undefined);
  const waiting = [...present];
  const silence = new Silence(cli, present.length);
  const endings = new Map<Target, Promise<Ending>>();
  const ask = (target: Target): Promise<void> =>
    new Promise((answered) => {
      const heard = (): void => {
        silence.isBroken(target);
        answered();
      };
      silence.isBroken(target);
      const ending = tryOne(cli, target, () => work(target, heard));
      endings.set(target, ending);
      void ending.then(() => {
        silence.isOver(target);
        answered();
      });
    });
  const askInTurn = async (): Promise<void> => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) await ask(target);
  };
  await Promise.all(Array.from({ length: Math.min(MAX_ASKED_AT_ONCE, present.length) }, askInTurn));
  const all = await Promise.all(targets.map((target) => endings.get(target) ?? Promise.resolve(absence(target))));
  silence.stop();
  return all;
};

const absence = ({ name, absent = '' }: Target): Ending => ({ name, reason: absent, absent: true, durationMs: 0 });

const tryOne = async ({ io: { clock }, out }: Cli, { name }: Target, work: () => ReturnType<Work>): Promise<Ending> => {
  const begun = clock.monotonicMs();
  const durationMs = (): number => Math.round(clock.monotonicMs() - begun);
  try {
    return { name, ...(await work()), durationMs: durationMs() };
  } catch (thrown) {
    const error = asError(thrown);
    if (out.json) out.document({ peer: name, type: 'error', data: error.toBody(), timestamp: clock.now() });
    return { name, ...failureOf(error), durationMs: durationMs() };
  }
};

/** Names those that others, already done, wait for; each once. */
class Silence {
  readonly #cli: Cli;
  readonly #total: number;
  readonly #heardAt = new Map<Target, number>();
  readonly #named = new Set<Target>();
  readonly #timer: Timer;
  #done = 0;

  constructor(cli: Cli, total: number) {
    this.#cli = cli;
    this.#total = total;
    this.#timer = cli.io.clock.every(LOOK_MS, () => this.#look());
  }

  isBroken(target: Target): void {
    this.#heardAt.set(target, this.#cli.io.clock.monotonicMs());
  }

  isOver(target: Target): void {
    this.#heardAt.delete(target);
    this.#done += 1;
  }

  stop(): void {
    this.#timer.cancel();
  }

  #look(): void {
    const { io, invocation, out } = this.#cli;
    if (this.#done * 2 < this.#total || invocation.has('quiet')) return;
    const since = io.clock.monotonicMs() - SILENT_MS;
    const silent = [...this.#heardAt].flatMap(([target, at]) => (at <= since ? target : []));
    if (silent.every((target) => this.#named.has(target))) return;
    for (const target of silent) this.#named.add(target);
    const what = invocation.has('detach') ? '' : ' (Ctrl-C reaches them, twice ends them)';
    out.note(`loopsy: waits for ${fewNames(silent.map(({ name }) => name))}${what}`);
  }
}
