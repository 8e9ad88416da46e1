import { LoopsyError } from '../../protocol/errors.ts';
import type { Budget, StoreOverBudget } from '../../store/store.ts';
import { ACCOUNTS, accountOf, type Box, keysOf, type MessageHead } from './record.ts';

/**
 * Neither one machine fills an inbox alone, nor what waits for one node the outbox; and named keys fill nothing that
 * their owner needs.
 */
export const budgetsOf = (head: MessageHead, maxBytes: number): Budget[] => {
  const part = (accounts: string, of: number): Budget => ({ accounts, maxBytes: Math.ceil(maxBytes / of) });
  const isByKey = head.by !== undefined;
  return [
    ...(isByKey ? [part(accountOf(head), 8), part(keysOf(head), 4)] : []),
    ...(isByKey && head.box === 'out' ? [] : [part(accountOf({ ...head, by: undefined }), 2)]),
    part(ACCOUNTS[head.box], 1),
  ];
};

const WHAT: Readonly<
  Record<Box, { readonly all: string; readonly share: string; readonly keys: string; readonly hint: string }>
> = {
  out: {
    all: 'the outbox',
    share: 'what may wait in the outbox for one node',
    keys: 'what named keys may have in the outbox',
    hint: '`loopsy message outbox --waiting` lists what waits; `loopsy message cancel` takes it back',
  },
  in: {
    all: 'the inbox there',
    share: 'what one machine may have in the inbox there',
    keys: 'what named keys of one machine may have in the inbox there',
    hint: 'it has to be read there first',
  },
};

/** What a full box says. */
export const fullError = ({ budget, bytes }: StoreOverBudget): LoopsyError => {
  const box: Box = budget.accounts.startsWith(ACCOUNTS.out) ? 'out' : 'in';
  const { all, share, keys, hint } = WHAT[box];
  const [what, limit] = budget.accounts.includes('key:')
    ? [
        keys,
        budget.accounts.endsWith('!') ? 'for each an eighth of messages.maxBytes' : 'a quarter of messages.maxBytes',
      ]
    : budget.accounts === ACCOUNTS[box]
      ? [all, 'messages.maxBytes']
      : [share, 'half of messages.maxBytes'];
  const held = box === 'out' ? 'was not handed over' : 'nobody has read';
  return new LoopsyError('mailbox_full', {
    message: `${what} is full: ${bytes} of ${budget.maxBytes} bytes (${limit}) are held by what ${held}`,
    hint,
    details: { box: box === 'out' ? 'outbox' : 'inbox', bytes, most: budget.maxBytes },
  });
};
