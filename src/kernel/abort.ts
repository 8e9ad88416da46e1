/** Why something was aborted: the `reason` of the signals of `createAbort`. */
export class AbortedError extends Error {
  /** The name that platform APIs give to aborts, so that both are told from faults in one way. */
  override readonly name = 'AbortError';
  /** One short word, e.g. `timeout`. */
  readonly reason: string;

  constructor(reason: string) {
    super(`aborted: ${reason}`);
    this.reason = reason;
  }
}

/** An abort whose cause is one of a few words. The first cause wins; later ones change nothing. */
export interface Abort<Cause extends string> {
  readonly signal: AbortSignal;
  /** The first cause, or undefined while nothing was aborted. */
  readonly cause: Cause | undefined;
  /** @returns true where this was the first cause. */
  abort(cause: Cause): boolean;
}

/** Makes an abort, e.g. `createAbort<'timeout' | 'cancel'>()`. */
export const createAbort = <Cause extends string>(): Abort<Cause> => {
  const controller = new AbortController();
  let first: Cause | undefined;
  return {
    signal: controller.signal,
    get cause() {
      return first;
    },
    abort(cause) {
      if (first !== undefined) return false;
      first = cause;
      controller.abort(new AbortedError(cause));
      return true;
    },
  };
};

/** The word that an aborted signal carries; `cancel` where it was aborted by other means, undefined where it wasn't. */
export const abortReason = (signal: AbortSignal): string | undefined => {
  if (!signal.aborted) return undefined;
  return signal.reason instanceof AbortedError ? signal.reason.reason : 'cancel';
};

/**
 * Waits for `work`, but rejects with the signal's reason as soon as it is aborted. `work` itself is not ended; what
 * becomes of it then is dropped. Leaves no listener behind.
 */
export const raceAbort = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason instanceof Error ? signal.reason : new AbortedError('cancel'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
