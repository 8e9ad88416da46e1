import { ClosedFolders } from './closed-folders.ts';
import { type Entry, type Failed, failedOf, type Group, type Plan } from './format.ts';
import type { Patience } from './patience.ts';
import type { Progress } from './progress.ts';
import type { ExtraRemover } from './remove-extra.ts';
import { failedIn, shownIn, type Way } from './way.ts';

/** A part of the manifest, and the same as it came. */
export interface Part {
  readonly group: Group;
  readonly text: string;
}

/** What the target says of entries. */
export interface Planned {
  /** Those that it was asked about. */
  readonly entries: readonly Entry[];
  readonly plan: Plan;
  /** Those of them in folders that are there. */
  readonly open: readonly Entry[];
}

/** What a planning works with. */
export interface PlanningParts {
  readonly patience: Patience;
  readonly progress: Progress;
  /** Where what the source does not have is removed. */
  readonly remover: ExtraRemover | undefined;
  readonly dryRun: boolean;
}

/** Asks a target what is to be done, part by part in the order of the manifest. */
export class Planning {
  readonly #parts: PlanningParts;
  readonly #closed: ClosedFolders;

  constructor(parts: PlanningParts) {
    this.#parts = parts;
    this.#closed = new ClosedFolders(parts.progress);
  }

  async plan(way: Way, { group, text }: Part): Promise<Planned> {
    const entries = this.#closed.openIn(group.entries);
    const asked = entries === group.entries ? text : JSON.stringify({ entries });
    const plan = await this.#cleared(way, entries, asked);
    const { progress } = this.#parts;
    const ofFolders = new Set(plan.closed?.map(([, failedAt]) => failedAt));
    progress.fail(failedIn(plan).filter((_, index) => !ofFolders.has(index)));
    return { entries, plan, open: this.#closed.take(entries, plan) };
  }

  /** What is of another kind than at the source is what the source does not have: then it is asked again. */
  async #cleared(way: Way, entries: readonly Entry[], asked: string): Promise<Plan> {
    const { remover, dryRun } = this.#parts;
    const first = await this.#ask(way, asked);
    const blocked = first.blocked ?? [];
    if (remover === undefined || blocked.length === 0) return first;
    const kept = new Map<number, Failed>();
    for (const [index, isFolder] of blocked) {
      const entry = entries[index];
      if (entry === undefined) continue;
      const why = await remover.whyNot(way, entry, isFolder);
      if (why !== undefined) kept.set(index, failedOf(shownIn(way, entry[1], entry[2]), why));
      else if (!dryRun) await remover.clear(way, entry, isFolder);
    }
    // What would be removed a dry run finds again at the end.
    if (dryRun) return without(first, kept);
    const plan = await this.#ask(way, asked);
    const reasons = new Map(Array.from(kept.values(), (one) => [one[0], one]));
    const failed = failedIn(plan).map((one) => reasons.get(one[0]) ?? one);
    return { ...first, ...plan, failed, folders: plan.folders + first.folders, links: plan.links + first.links };
  }

  async #ask({ target }: Way, asked: string): Promise<Plan> {
    return (await this.#parts.patience.persist(() => target.write('plan', asked))) as Plan;
  }
}

/** The plan without these entries, which have failed. */
const without = (plan: Plan, kept: ReadonlyMap<number, Failed>): Plan => {
  const others = (indices: readonly number[] = []): number[] => indices.filter((index) => !kept.has(index));
  const { send, compare, check, makes, replaces, failed } = plan;
  return {
    ...plan,
    send: others(send),
    compare: others(compare),
    check: others(check),
    makes: others(makes),
    replaces: others(replaces),
    failed: [...failed, ...kept.values()],
  };
};
