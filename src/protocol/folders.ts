import type { Level } from './scopes.ts';

/** Undefined where folders narrow what is granted; else why they do not. */
export const foldersMisplaced = ({
  grant = 'full',
  folders,
}: {
  readonly grant?: Level | undefined;
  readonly folders?: readonly string[] | undefined;
}): string | undefined =>
  grant === 'full' && folders !== undefined
    ? 'folders do not narrow the level full, which may run any command'
    : undefined;
