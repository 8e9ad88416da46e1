import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { Transfers } from '../../../src/daemon/transfers/service.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { TransferInput } from '../../../src/protocol/transfers.ts';
import { openStore } from '../../../src/store/engine.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { until } from '../../helpers/process-facts.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

const KAI = { name: 'kai', nodeId: 'k'.repeat(32) };
const OWNER: Caller = { kind: 'owner' };
const ID = '01j8zq0v3m8k2t4n6p8r0s2v4w';

const never = (): never => {
  throw new Error('no other node is asked');
};

const serviceIn = (
  home: string,
  callerOf: (name: string) => Caller | undefined,
): { transfers: Transfers; put: (pending: object) => Promise<unknown> } => {
  const log = createLog({ level: 'error', clock: systemClock, write: () => undefined });
  const store = openStore({ file: join(home, 'loopsy.db'), clock: systemClock, log });
  const transfers = new Transfers({
    store,
    clock: systemClock,
    log,
    platform: process.platform,
    home,
    journalDir: join(home, 'data', 'transfers'),
    alwaysDenied: [join(home, 'data')],
    rules: () => ({ allowed: [home], denied: [], maxFileSize: 1_000_000 }),
    keepDays: () => 7,
    here: () => ({ name: 'here', nodeId: 'h'.repeat(32) }),
    peer: (nodeId) => (nodeId === KAI.nodeId ? KAI : undefined),
    forward: { json: never, bytes: never },
    events: { publish: () => undefined },
    boot: 'b'.repeat(16),
    callerOf,
  });
  onTestFinished(async () => {
    await transfers.stop();
    await store.close();
  });
  return {
    transfers,
    put: (pending) => store.commit([{ put: `transfer-active/${ID}`, value: JSON.stringify(pending) }]),
  };
};

const pending = (input: Partial<TransferInput>, caller = 'owner'): object => ({
  input: { sources: ['a'], dest: 'b', detach: true, ...input },
  caller,
  startedAt: 1_700_000_000_000,
});

describe('a detached transfer that an earlier start of the node left', () => {
  it('goes on', async () => {
    const home = await tempFolder();
    await writeFile(join(home, 'a'), 'bytes');
    const { transfers, put } = serviceIn(home, () => OWNER);
    await put(pending({}));
    await transfers.start();
    await until(() => transfers.get({ transferId: ID }, OWNER).state === 'ended', 5000);
    expect(transfers.get({ transferId: ID }, OWNER)).toMatchObject({ outcome: 'done', files: { done: 1 } });
  });

  const agent: Caller = { kind: 'agent', label: 'x', grant: grantOfLevel('full', []) };
  const looker: Caller = { kind: 'key', name: 'x', grant: grantOfLevel('observe') };
  const REFUSED = [
    ['to a peer that is gone', { to: 'z'.repeat(32) }, OWNER, 'peer_not_found'],
    ['of a key that is gone', {}, undefined, 'revoked'],
    ['of an agent whose reach was taken', { to: KAI.nodeId }, agent, 'scope_missing'],
    ['of one who may only look', {}, looker, 'scope_missing'],
  ] as const;
  it.each(REFUSED)(
    verifies('transfers.resume-refused', '%s is said to have failed, and the node starts'),
    async (...[, input, caller, error]) => {
      const { transfers, put } = serviceIn(await tempFolder(), () => caller);
      await put(pending(input));
      await transfers.start();
      expect(transfers.get({ transferId: ID }, OWNER)).toMatchObject({ state: 'ended', outcome: 'failed', error });
      expect((await transfers.list({ state: 'all' }, OWNER)).transfers).toHaveLength(1);
    },
  );
});

describe('what a sudden end has left', () => {
  it(verifies('transfers.swept', 'is removed when the node starts, though nothing is moved'), async () => {
    const home = await tempFolder();
    const draft = join(home, '.loopsy-0123456789abcdef.part');
    await mkdir(join(home, 'data', 'transfers'), { recursive: true });
    await writeFile(draft, 'half');
    await writeFile(
      join(home, 'data', 'transfers', `${'0'.repeat(32)}.jsonl`),
      `${JSON.stringify({ small: [draft] })}\n`,
    );
    const { transfers } = serviceIn(home, () => OWNER);
    await transfers.start();
    await until(() => !existsSync(draft), 5000);
  });
});
