import { constants } from 'node:fs';

/** Some are missing on Windows, whatever the types say. */
const known: Readonly<Record<string, number | undefined>> = { ...constants };

export const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = constants;
export const O_DIRECTORY = known['O_DIRECTORY'] ?? 0;
export const O_NOFOLLOW = known['O_NOFOLLOW'] ?? 0;
export const O_NONBLOCK = known['O_NONBLOCK'] ?? 0;
/** Linux: the thing itself, whatever may be read of it. Node does not name it. */
export const O_PATH = 0o10_000_000;
