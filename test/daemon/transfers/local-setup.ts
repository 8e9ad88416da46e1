import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { onTestFinished } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import { Transfers } from '../../../src/daemon/transfers/service.ts';
import type { DiskRules } from '../../../src/daemon/transfers/disk/messages.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import type { Transfer, TransferInput } from '../../../src/protocol/transfers.ts';
import { openStore } from '../../../src/store/engine.ts';
import { until } from '../../helpers/process-facts.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const never = (): never => {
  throw new Error('no other node is asked');
};

/** A node's transfers of its own disk, in a folder of the test's own. */
export interface LocalNode {
  readonly home: string;
  readonly transfers: Transfers;
  /** As the owner says it. */
  readonly call: Call;
  /** Begins a movement below the home, and resolves with its end. */
  move(input: Omit<TransferInput, 'from' | 'to'>): Promise<Transfer>;
  /** Makes files, with what is above them. */
  write(files: Readonly<Record<string, string>>): Promise<void>;
}

/** `rules` are asked for again whenever the config changes. */
export const localNode = async (rules: Partial<DiskRules> = {}): Promise<LocalNode> => {
  const home = await tempFolder();
  const log = createLog({ level: 'error', clock: systemClock, write: () => undefined });
  const store = openStore({ file: join(home, 'data.db'), clock: systemClock, log });
  const transfers = new Transfers({
    store,
    clock: systemClock,
    log,
    platform: process.platform,
    home,
    journalDir: join(home, 'data', 'transfers'),
    alwaysDenied: [join(home, 'data')],
    rules: () => ({ allowed: [home], denied: [], maxFileSize: 1_000_000_000, ...rules }),
    keepDays: () => 7,
    here: () => ({ name: 'here', nodeId: 'h'.repeat(32) }),
    peer: () => undefined,
    forward: { json: never, bytes: never },
    events: { publish: () => undefined },
    boot: 'b'.repeat(16),
    callerOf: () => ({ kind: 'owner' }),
  });
  onTestFinished(async () => {
    await transfers.stop();
    await store.close();
  });
  const call: Call = {
    operation: 'transfer.start',
    caller: { kind: 'owner' },
    requestId: 'r',
    digest: '',
    resumable: false,
    signal: new AbortController().signal,
    announce: () => undefined,
    note: () => undefined,
  };
  const move: LocalNode['move'] = async (input) => {
    const { transferId } = await transfers.begin(input, call);
    const row = (): Transfer => transfers.get({ transferId }, { kind: 'owner' });
    await until(() => row().state === 'ended', 30_000);
    return row();
  };
  const write: LocalNode['write'] = async (files) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(home, path)), { recursive: true });
      await writeFile(join(home, path), text);
    }
  };
  return { home, transfers, call, move, write };
};
