import { describe, expect, it } from 'vitest';

import { errorOf, failureGroups, saidBy, summaryOf } from '../../src/cli/transfer-words.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import type { Transfer } from '../../src/protocol/transfers.ts';
import { verifies } from '../requirements.ts';
import { MOVED } from './fake-node.ts';

const reader = { here: MOVED.from.nodeId };
const LIST = '`loopsy ls maria <path>` shows what is there';

describe('the advice to list what is there', () => {
  it.each<[Pick<Transfer, 'at' | 'hint'>, string | undefined]>([
    [{ at: 'source' }, undefined],
    [{ at: 'target' }, LIST],
    [{ at: 'target', hint: 'make it' }, 'make it'],
    [{}, undefined],
  ])(verifies('cli.transfer.failures', 'names the peer, and is given for no other machine: %j → %s'), (of, hint) => {
    const failed = { outcome: 'failed', error: 'file_not_found', message: 'not there', ...of } as const;
    expect(errorOf({ ...MOVED, ...failed }, reader)?.hint).toBe(hint);
    const failures = [{ path: 'x', error: 'file_not_found', message: 'not there', ...of }];
    const files = { found: 1, done: 0, skipped: 0, failed: 1 };
    expect(failureGroups({ ...MOVED, files, failures }, reader)[0]?.hint).toBe(hint);
  });

  it(verifies('cli.transfer.failures', 'is kept from errors that it does not help with'), () => {
    const denied = { outcome: 'failed', error: 'path_denied', at: 'target' } as const;
    expect(errorOf({ ...MOVED, ...denied }, reader)?.hint).toBeUndefined();
    const said = (peer: string | undefined, instead?: string): unknown => {
      try {
        return saidBy(peer, instead)(new LoopsyError('file_not_found', { message: 'no' }));
      } catch (thrown) {
        return thrown instanceof LoopsyError ? [thrown.message, thrown.hint] : thrown;
      }
    };
    expect(said('maria')).toEqual(['no (on maria)', LIST]);
    expect(said('maria', 'look above')).toEqual(['no (on maria)', 'look above']);
    expect(said(undefined)).toEqual(['no', undefined]);
  });
});

describe('a failure', () => {
  it(verifies('cli.transfer.failures', 'names its path once'), () => {
    const files = { found: 3, done: 0, skipped: 0, failed: 3 };
    const failed = (path: string, message: string) => ({ path, error: 'path_denied', message });
    const failures = [failed('a "b"', '"a \\"b\\"" is closed'), failed('c', 'it is closed')];
    expect(failureGroups({ ...MOVED, files, failures }, reader)[0]?.lines).toEqual([
      '"a \\"b\\"" is closed',
      'c: it is closed',
    ]);
  });
});

describe('the summary', () => {
  it(
    verifies('cli.transfer.summary', 'names the place of several things as it was typed, also where one failed'),
    () => {
      const several = { ...MOVED, sources: ['a', 'b'], path: '/home/maria/inbox/a' };
      expect(summaryOf(several, reader)).toContain(' to maria:inbox/;');
      const here = { ...several, from: MOVED.to, to: MOVED.from, dest: '/srv/kai/inbox/' };
      expect(summaryOf(here, { ...reader, typed: 'inbox/' })).toContain(' to inbox/;');
      expect(summaryOf(here, reader)).toContain(' to /srv/kai/inbox/;');
      // One thing has one real path.
      expect(summaryOf({ ...here, sources: ['a'] }, { ...reader, typed: 'inbox/' })).toContain('/home/maria/inbox/a;');
    },
  );
});
