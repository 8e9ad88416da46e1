import type { Caller } from '../../trust/caller.ts';
import { foldersOf } from '../../trust/grants.ts';

/** The folders that a caller's grant opens: the narrower of them and the config holds. */
export const limitsOf = (caller: Caller): { readonly folders?: readonly string[] } => {
  const folders = 'grant' in caller ? foldersOf(caller.grant) : undefined;
  return folders === undefined ? {} : { folders };
};

/** True for who may write what programs run by themselves: it could run anything anyway. */
export const mayWriteRunning = (caller: Caller): boolean =>
  caller.kind === 'owner' ||
  ('grant' in caller && caller.grant.level === 'full' && caller.grant.scopes.includes('exec'));
