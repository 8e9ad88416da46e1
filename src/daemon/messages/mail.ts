import { LoopsyError } from '../../protocol/errors.ts';
import { addressOf } from '../../protocol/mail.ts';
import { type Budget, type Change, StoreConflict, StoreOverBudget, type Store } from '../../store/store.ts';
import { callerName } from '../../trust/caller.ts';
import type { Publisher } from '../events/bus.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { budgetsOf, fullError } from './budgets.ts';
import { makeRoom } from './room.ts';
import { mayTake, type Names } from './readers.ts';
import { type Advance, advance, type MessageHead, putAdvanced, type StoredMessage } from './record.ts';

/** What becomes true at once. */
export interface Plan {
  readonly changes: readonly Change[];
  /** Messages that have another state with it: whoever may hear of it is told. */
  readonly moved?: readonly MessageHead[];
  /** Messages that are new in their box: there has to be room for them. */
  readonly added?: readonly MessageHead[];
  /** What else may not hold too much with it. */
  readonly within?: readonly Budget[];
}

/** What mail is committed with. */
export interface MailOptions {
  readonly store: Store;
  readonly events: Publisher;
  readonly names: Names;
  readonly settings: () => { readonly maxBytes: number };
}

/** A message one state further, as a plan; one without changes where it is that far already. */
export const moveOf = (stored: StoredMessage | undefined, step: Advance): Required<Pick<Plan, 'changes' | 'moved'>> => {
  const next = stored === undefined ? undefined : advance(stored.head, step);
  return stored === undefined || next === undefined
    ? { changes: [], moved: [] }
    : { changes: putAdvanced(stored, next), moved: [next] };
};

/** Plans as one. */
export const joined = (...plans: readonly Plan[]): Required<Plan> => ({
  changes: plans.flatMap(({ changes }) => changes),
  moved: plans.flatMap(({ moved = [] }) => moved),
  added: plans.flatMap(({ added = [] }) => added),
  within: plans.flatMap(({ within = [] }) => within),
});

/** The one way in which mail changes: all of a plan or nothing, told when it is on disk. */
export class Mail {
  readonly #options: MailOptions;

  constructor(options: MailOptions) {
    this.#options = options;
  }

  /**
   * Commits what `plan` says. It is made anew for each try, in the very turn in which it is handed to the store: what
   * it has read is what it changes, and what is made first, an id too, is on disk first.
   * @throws {LoopsyError} `mailbox_full` where there is no room even when room was made; `disk_full`; whatever `plan` throws.
   */
  async commit<Made extends Plan>(plan: () => Made): Promise<Made> {
    for (;;) {
      const made = plan();
      try {
        await this.#write(made);
        for (const head of made.moved ?? []) this.#tell(head);
        return made;
      } catch (thrown) {
        if (thrown instanceof StoreConflict) continue;
        if (!(thrown instanceof StoreOverBudget)) throw thrown;
        const { accounts } = thrown.budget;
        if (made.within?.some((budget) => budget.accounts === accounts) === true) throw knownError();
        if (!(await this.#makeRoom(accounts))) throw fullError(thrown);
      }
    }
  }

  async #write({ changes, added = [], within: more = [] }: Plan): Promise<void> {
    const { store, settings } = this.#options;
    const { maxBytes } = settings();
    const budgets = [...added.flatMap((head) => budgetsOf(head, maxBytes)), ...more];
    const within = [...new Map(budgets.map((budget) => [budget.accounts, budget])).values()];
    await diskErrors('messages', () => store.commit(changes, within.length === 0 ? {} : { within }));
  }

  async #makeRoom(accounts: string): Promise<boolean> {
    const { store } = this.#options;
    const changes = makeRoom(accounts, store);
    if (changes.length === 0) return false;
    try {
      await diskErrors('messages', () => store.commit(changes));
    } catch (thrown) {
      // Something of it has moved on meanwhile: there is to be another look.
      if (!(thrown instanceof StoreConflict)) throw thrown;
    }
    return true;
  }

  #tell(head: MessageHead): void {
    const { events, names } = this.#options;
    const { id, box, state, nodeId, fromAgent, by, toAgent } = head;
    const [own, other] = [names.own(), names.nameOf(nodeId) ?? nodeId];
    const there = nodeId === names.nodeId ? own : other;
    const [from, to] = box === 'in' ? [there, own] : [own, there];
    events.publish(
      {
        type: 'message.state',
        message: {
          id,
          box: box === 'in' ? 'inbox' : 'outbox',
          from: addressOf(from, fromAgent),
          to: addressOf(to, toAgent),
          state,
          ...given('fromAgent', fromAgent),
          ...given('by', by),
          ...given('toAgent', toAgent),
        },
      },
      (caller) => {
        if (caller.kind === 'owner') return true;
        if (box === 'out') return callerName(caller) === head.caller;
        return caller.kind === 'agent' && mayTake({ caller, label: caller.label }, head);
      },
    );
  }
}

const knownError = (): LoopsyError =>
  new LoopsyError('rate_limited', { message: 'too many nodes of one machine have sent messages here' });

/** A field that is there only where it has a value. */
export const given = <Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } =>
  // One field, named by its parameter.
  value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]: Value });
