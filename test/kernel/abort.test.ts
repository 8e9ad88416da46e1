import { describe, expect, it } from 'vitest';

import { abortReason } from '../../src/kernel/abort.ts';

describe('the reason of an abort', () => {
  it('is the first word that was given', () => {
    const controller = new AbortController();
    expect(abortReason(controller.signal)).toBeUndefined();
    controller.abort('timeout');
    controller.abort('cancel');
    expect(abortReason(controller.signal)).toBe('timeout');
  });

  it('is a cancel where no word was given', () => {
    expect(abortReason(AbortSignal.abort())).toBe('cancel');
    expect(abortReason(AbortSignal.abort(new Error('no')))).toBe('cancel');
  });
});
