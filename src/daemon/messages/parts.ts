import type { Clock } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { Change, Store } from '../../store/store.ts';
import { StoreOverBudget } from '../../store/store.ts';
import type { Publisher } from '../events/bus.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import type { Guards, GuardSettings } from './guards.ts';
import type { Names } from './readers.ts';
import { ACCOUNTS, accountOf, idIn, KEYS, type Box, type MessageHead } from './record.ts';

/** Config `messages`. */
export interface MessageSettings extends GuardSettings {
  /** s. */
  readonly ttl: number;
  readonly maxBytes: number;
}

/** What both boxes need. */
export interface MailParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly names: Names;
  readonly settings: () => MessageSettings;
  readonly guards: Guards;
  readonly events: Publisher;
}

/** Ended messages that go at once where room is needed: enough for one that is as large as can be. */
const MADE_ROOM = 200;

/**
 * Commits what adds a message to a box. Where it does not fit, messages go that have come to their end, the oldest
 * first, dead ones last; what nobody has read stays.
 * @throws {StoreOverBudget} where there is no room even so. @throws {StoreConflict} where a condition does not hold.
 */
export const commitMail = async (
  changes: readonly Change[],
  head: Pick<MessageHead, 'box' | 'nodeId'>,
  { store, settings }: Pick<MailParts, 'store' | 'settings'>,
): Promise<void> => {
  for (;;) {
    try {
      await diskErrors('messages', () => store.commit(changes, { within: budgetsOf(head, settings().maxBytes) }));
      return;
    } catch (thrown) {
      if (!(thrown instanceof StoreOverBudget) || !(await makeRoom(head, store))) throw thrown;
    }
  }
};

/** No machine fills a box alone. */
const budgetsOf = ({ box, nodeId }: Pick<MessageHead, 'box' | 'nodeId'>, maxBytes: number) =>
  box === 'out'
    ? [{ accounts: ACCOUNTS.out, maxBytes }]
    : [
        { accounts: accountOf({ box, nodeId }), maxBytes: Math.ceil(maxBytes / 2) },
        { accounts: ACCOUNTS.in, maxBytes },
      ];

const makeRoom = async (head: Pick<MessageHead, 'box' | 'nodeId'>, store: Store): Promise<boolean> => {
  const ended = store.list({ prefix: KEYS.done(accountOf(head)), limit: MADE_ROOM });
  const gone = ended.flatMap(({ key }) => [{ delete: key }, { delete: KEYS.message(head.box, idIn(key)) }]);
  if (gone.length > 0) await diskErrors('messages', () => store.commit(gone));
  return gone.length > 0;
};

/** What a full box says. */
export const fullError = ({ budget, bytes }: StoreOverBudget, box: Box): LoopsyError => {
  const isShare = budget.accounts !== ACCOUNTS.in && budget.accounts !== ACCOUNTS.out;
  const what =
    box === 'out' ? 'the outbox' : isShare ? 'what your machine may have in the inbox there' : 'the inbox there';
  const share = isShare ? 'half of messages.maxBytes' : 'messages.maxBytes';
  return new LoopsyError('mailbox_full', {
    message: `${what} is full: ${bytes} of ${budget.maxBytes} bytes (${share}) are taken by what is not at its end`,
    hint:
      box === 'out'
        ? '`loopsy message outbox --unread` lists what waits; `loopsy message cancel` takes it back'
        : 'it has to be read there first',
    details: { box: box === 'out' ? 'outbox' : 'inbox', bytes, most: budget.maxBytes },
  });
};
