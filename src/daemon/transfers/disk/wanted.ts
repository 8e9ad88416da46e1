import type { Entry } from '../format.ts';

/** A file as a batch's header, and `prepare`, name it: root, path below it, size, mtime (ms), mode. */
export type WantedFile = readonly [root: number, path: string, size: number, mtimeMs: number, mode: number];

const MAX_MODE = 0o777;

/** True for a whole number from 0 on. */
export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** True for permission bits, or -1 where there are none: never setuid, setgid or sticky. */
const isMode = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= -1 && Number(value) <= MAX_MODE;

/** True for root, path, size, mtime (ms), mode. */
export const isWanted = (value: unknown): value is WantedFile => {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [root, path, size, mtimeMs, mode] = value as unknown[];
  return isCount(root) && typeof path === 'string' && isCount(size) && Number.isFinite(mtimeMs) && isMode(mode);
};

/** True for an entry of a manifest. */
export const isEntry = (value: unknown): value is Entry => {
  if (!Array.isArray(value)) return false;
  const [kind, root, path, size, mtimeMs, mode, link] = value as unknown[];
  return (
    isCount(kind) && isWanted([root, path, size, mtimeMs, mode]) && (link === undefined || typeof link === 'string')
  );
};
