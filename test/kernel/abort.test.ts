import { getEventListeners } from 'node:events';

import { describe, expect, it } from 'vitest';

import { AbortedError, abortReason, createAbort, raceAbort } from '../../src/kernel/abort.ts';

describe('an abort', () => {
  it('keeps its first cause', () => {
    const abort = createAbort<'timeout' | 'cancel'>();
    expect(abort.cause).toBeUndefined();
    expect(abort.abort('timeout')).toBe(true);
    expect(abort.abort('cancel')).toBe(false);
    expect(abort.cause).toBe('timeout');
    expect(abort.signal.reason).toBeInstanceOf(AbortedError);
    expect(abortReason(abort.signal)).toBe('timeout');
  });

  it('made by other means is a cancel', () => {
    const controller = new AbortController();
    expect(abortReason(controller.signal)).toBeUndefined();
    controller.abort();
    expect(abortReason(controller.signal)).toBe('cancel');
  });

  it('ends a wait at once, with its reason', async () => {
    const abort = createAbort<'shutdown'>();
    const waiting = raceAbort(new Promise(() => undefined), abort.signal);
    abort.abort('shutdown');
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError', reason: 'shutdown' });
    await expect(raceAbort(new Promise(() => undefined), abort.signal)).rejects.toMatchObject({ reason: 'shutdown' });
  });

  it('that does not come changes nothing and leaves no listener', async () => {
    const { signal } = createAbort();
    expect(await raceAbort(Promise.resolve(7), signal)).toBe(7);
    await expect(raceAbort(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    await new Promise(setImmediate);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('swallows what becomes of the work afterwards', async () => {
    const abort = createAbort<'cancel'>();
    let fail: (error: Error) => void = () => undefined;
    const waiting = raceAbort(new Promise((_, reject) => (fail = reject)), abort.signal);
    abort.abort('cancel');
    await expect(waiting).rejects.toThrow('aborted: cancel');
    fail(new Error('late'));
    await new Promise(setImmediate);
  });
});
