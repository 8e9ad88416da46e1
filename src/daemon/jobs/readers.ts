import type { Clock, Timer } from '../../kernel/clock.ts';
import { type Followed, Follower } from './follower.ts';

/** How long a run whose resumable caller lost its connection waits for it. */
const REJOIN_MS = 10_000;

/** The run that is read. */
export interface ReadRun extends Followed {
  /** Who started it. */
  readonly record: { readonly caller: string };
  readonly isOver: boolean;
  /** Its reader has come further, or is another one. */
  pace(): void;
}

/** What readers need beside their run. */
export interface ReadersOptions {
  readonly clock: Clock;
  /** True where a lost connection of the starter is no reason to end the run at once. */
  readonly resumable: boolean;
  /** The one for whom it runs is gone for good. */
  readonly onGone: () => void;
}

/** Who reads a run, and which of them counts: the reader of the request that started it, or whoever came in its place. */
export class Readers {
  readonly #run: ReadRun;
  readonly #options: ReadersOptions;
  readonly #all = new Set<Follower>();
  /** Its cursor sets the pace; it stays while its connection is lost, so that nothing runs away meanwhile. */
  #pacer: Follower | undefined;
  #rejoin: Timer | undefined;
  #kept = false;

  constructor(run: ReadRun, options: ReadersOptions) {
    this.#run = run;
    this.#options = options;
  }

  get count(): number {
    return this.#all.size;
  }

  /** True where the run goes on without its caller. */
  get isKept(): boolean {
    return this.#kept;
  }

  /** How far the one that counts has read; undefined where none ever did. */
  get cursor(): number | undefined {
    return this.#pacer?.cursor;
  }

  /** The reader of the request that started the run, or of its repeat: it sets the pace, and its end ends the run. */
  attach(caller: string): Follower {
    const follower = this.#add(caller, 0);
    this.#paceBy(follower);
    return follower;
  }

  /** Any other reader. It becomes the one that counts where the starter's connection is lost and this is the same caller. */
  follow(caller: string, since: number): Follower {
    const follower = this.#add(caller, since);
    if (this.#rejoin !== undefined && caller === this.#run.record.caller) this.#paceBy(follower);
    return follower;
  }

  /** The caller is back, or nobody waits for it. */
  rejoin(): void {
    this.#rejoin?.cancel();
    this.#rejoin = undefined;
  }

  /** The run goes on without its caller. */
  keep(): void {
    this.#kept = true;
    this.rejoin();
  }

  /** One has gone. */
  remove(follower: Follower): void {
    this.#all.delete(follower);
    if (follower === this.#pacer && !this.#run.isOver) this.#onPacerGone();
  }

  /** There may be something new to read. */
  wake(): void {
    for (const follower of this.#all) follower.wake();
  }

  #add(caller: string, since: number): Follower {
    const follower = new Follower(this.#run, caller, since);
    this.#all.add(follower);
    return follower;
  }

  #paceBy(follower: Follower): void {
    this.rejoin();
    this.#pacer = follower;
    this.#run.pace();
  }

  #onPacerGone(): void {
    const { clock, resumable, onGone } = this.#options;
    // A caller that noticed the loss before this node did may be reading again already.
    const heir = [...this.#all].findLast(({ caller }) => caller === this.#run.record.caller);
    if (resumable && heir !== undefined) return this.#paceBy(heir);
    if (this.#kept) return;
    if (!resumable) return onGone();
    this.#rejoin ??= clock.after(REJOIN_MS, onGone);
  }
}
