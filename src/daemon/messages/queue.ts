import type { Entry } from '../../store/store.ts';

/** What stands behind the time in a queue's entry whose delivery has been tried: whether it arrived may not be known. */
const TRIED = ' tried';

/** True where its delivery may have begun. */
export const wasTried = ({ value }: Pick<Entry, 'value'>): boolean => value.endsWith(TRIED);

/** The value of a queue's entry. */
export const queued = (dueAt: number, isTried: boolean): string => `${dueAt}${isTried ? TRIED : ''}`;
