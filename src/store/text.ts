import type { Budget, Change, Entry, ListQuery } from './store.ts';

const MAX_KEY_BYTES = 1024;
const MAX_CHANGES = 1000;
const MAX_ACCOUNT = 200;
/** The largest commit, in UTF-16 units of its keys and values. */
export const MAX_COMMIT_LENGTH = 8 * 1024 * 1024;
const MAX_LIST = 1000;
const MAX_LIST_BYTES = 4 * 1024 * 1024;

/** True where an engine gives the text back: it would cut it at a NUL, and store half a pair as another character. */
export const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0');

const checkText = (text: string, what: string): void => {
  if (!isStorable(text)) throw new RangeError(`${what} holds a NUL or half a surrogate pair`);
};

const checkChange = (change: Change): number => {
  const key = 'put' in change ? change.put : change.delete;
  if (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES) throw new RangeError('a key has 1–1024 bytes');
  checkText(key, 'a key');
  if (!('put' in change)) return key.length;
  checkText(change.value, `the value of ${key}`);
  if (change.expiresAt !== undefined && !Number.isSafeInteger(change.expiresAt)) {
    throw new RangeError(`expiresAt of ${key} is not a whole number of ms`);
  }
  if (change.account !== undefined) checkAccount(change.account);
  return key.length + change.value.length;
};

const checkAccount = (account: string): void => {
  if (account === '' || account.length > MAX_ACCOUNT) throw new RangeError('an account has 1–200 characters');
  checkText(account, 'an account');
};

/** @throws {RangeError} where one is none. */
export const checkBudgets = (within: readonly Budget[] = []): void => {
  for (const { accounts, maxBytes } of within) {
    checkAccount(accounts);
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) throw new RangeError('a budget is a whole number of bytes');
  }
};

/** The length of a commit, in UTF-16 units. Throws a RangeError where it can't be stored as it is. */
export const checkChanges = (changes: readonly Change[]): number => {
  if (changes.length > MAX_CHANGES) throw new RangeError(`a commit has at most ${MAX_CHANGES} changes`);
  const length = changes.reduce((sum, change) => sum + checkChange(change), 0);
  if (length > MAX_COMMIT_LENGTH) throw new RangeError('a commit is larger than 8 Mi characters');
  return length;
};

// Moves the surrogates behind U+FFFF, which makes the order of UTF-16 units that of code points, and so of UTF-8.
const rank = (unit: number): number => {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
};

/** Compares as their UTF-8 bytes compare. */
export const compareUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const difference = rank(a.charCodeAt(at)) - rank(b.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
};

/** The least text that is greater than every text with this prefix; `undefined` where there is none. */
export const prefixEnd = (prefix: string): string | undefined => {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
};

/** A range of keys: from `from` up to, and without, `to`; without `to` up to the last. */
export interface KeyRange {
  readonly from: string;
  readonly to: string | undefined;
}

/** All keys with this prefix. */
export const prefixRange = (prefix: string): KeyRange => {
  checkText(prefix, 'a prefix');
  if (prefix.length > MAX_KEY_BYTES) throw new RangeError('a prefix has at most 1024 bytes');
  return { from: prefix, to: prefixEnd(prefix) };
};

/** The keys that a list may hold. Throws a RangeError where its bounds are out of bounds. */
export const listRange = (query: ListQuery): KeyRange => {
  const { prefix, after, limit, maxBytes = MAX_LIST_BYTES, reverse = false } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIST) throw new RangeError('a list has a limit of 1–1000');
  if (!Number.isInteger(maxBytes) || maxBytes < 1 || maxBytes > MAX_LIST_BYTES) {
    throw new RangeError('a list has 1 byte to 4 MiB');
  }
  const { from, to } = prefixRange(prefix);
  if (after === undefined) return { from, to };
  checkText(after, 'the cursor of a list');
  if (reverse) return { from, to: to === undefined || compareUtf8(after, to) < 0 ? after : to };
  // No key holds a NUL, so U+0001 makes the next possible key.
  const next = `${after}\u0001`;
  return { from: compareUtf8(next, from) > 0 ? next : from, to };
};

/** As many of `entries` as a list may hold. No more than one beyond them is asked for. */
export const cutList = <Row extends Pick<Entry, 'key' | 'value'>>(
  entries: Iterable<Row>,
  { limit, maxBytes = MAX_LIST_BYTES }: ListQuery,
): Row[] => {
  const list: Row[] = [];
  let bytes = 0;
  for (const entry of entries) {
    bytes += Buffer.byteLength(entry.key) + Buffer.byteLength(entry.value);
    if (list.length === limit || (bytes > maxBytes && list.length > 0)) break;
    list.push(entry);
  }
  return list;
};
