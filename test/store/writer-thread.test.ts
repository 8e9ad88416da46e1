import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';

import { describe, expect, it, onTestFinished } from 'vitest';

import { openStore } from '../../src/store/engine.ts';
import { StoreFull } from '../../src/store/store.ts';
import { WriterThread } from '../../src/store/writer-thread.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { KeptLog } from './open.ts';

const script = resolve(import.meta.dirname, '../fixtures/stuck-writer.mjs');

const askThread = async (thread: WriterThread, file: string): Promise<string> => {
  const answer = await thread.ask(file, { kind: 'sweep', now: 0, counts: false });
  return answer.kind === 'failed' ? answer.failure.message : answer.kind;
};

describe('the writer thread', () => {
  it('is one for all files, and ends when it was idle or its last file is closed', async () => {
    const clock = new FakeClock();
    const thread = new WriterThread(clock, script);
    const first = await askThread(thread, 'a');
    expect(await Promise.all([askThread(thread, 'b'), askThread(thread, 'a')])).toEqual([first, first]);
    clock.advance(29_999);
    expect(await askThread(thread, 'a')).toBe(first);
    clock.advance(30_000);
    const second = await askThread(thread, 'a');
    expect(second).not.toBe(first);
    await thread.close('a');
    expect(await askThread(thread, 'b')).toBe(second);
    await thread.close('b');
    expect(clock.waiting).toBe(0);
    expect(await askThread(thread, 'c')).not.toBe(second);
    await thread.close('c');
  });

  it.each(['throw', 'exit'])(
    'that ends by %s rejects all that waits, and the next task starts a new one',
    async (fault) => {
      const thread = new WriterThread(new FakeClock(), script);
      const first = await askThread(thread, 'a');
      const waiting = await Promise.allSettled([fault, 'a', 'b'].map((file) => askThread(thread, file)));
      const said = waiting.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : 'answered'));
      const cause = fault === 'throw' ? 'broken thread' : 'exit code 3';
      for (const line of said)
        expect(line).toMatch(new RegExp(`writer thread ended \\(.*${cause}.*whether this was written`));
      expect(await askThread(thread, 'a')).not.toBe(first);
      await Promise.all([fault, 'a', 'b'].map((file) => thread.close(file)));
    },
  );

  it('of another build refuses to work', async () => {
    const worker = new Worker(resolve(import.meta.dirname, '../../.cache/store/worker.js'), { workerData: 0 });
    const [error]: Error[] = await once(worker, 'error');
    expect(error?.message).toContain('restart it');
  });

  it('that can not start fails the commit with its reason, and leaves the store readable', async () => {
    const clock = new FakeClock();
    const thread = new WriterThread(clock, join(await tempFolder(), 'missing.js'));
    const store = openStore({ file: join(await tempFolder(), 'a.db'), clock, log: new KeptLog(), thread });
    onTestFinished(() => store.close());
    const failed = store.commit([{ put: 'a', value: '1' }]);
    await expect(failed).rejects.not.toBeInstanceOf(StoreFull);
    await expect(failed).rejects.toThrow('missing.js');
    expect(store.get('a')).toBeUndefined();
  });
});
