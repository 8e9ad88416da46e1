import type { Status } from '../protocol/system.ts';

/** What a person does next with a node that runs, in one line. */
export const nextStep = ({ warnings, peers }: Pick<Status, 'warnings' | 'peers'>): string => {
  if (warnings.length > 0)
    return `Next: \`loopsy doctor\` says what to do about ${warnings.length === 1 ? 'a warning' : `${warnings.length} warnings`}.`;
  return peers.total === 0
    ? 'Next: `loopsy pair` trusts another machine; it says what to type there.'
    : 'Next: `loopsy peers` shows who is there, `loopsy exec <peer> <command>` runs something.';
};
