/**
 * The one word for why a signal was aborted (`timeout`, `client-gone`, `shutdown`, …): what `controller.abort(word)` was
 * given first; later causes change nothing. `cancel` where it was aborted without a word, undefined where it wasn't.
 */
export const abortReason = (signal: AbortSignal): string | undefined => {
  if (!signal.aborted) return undefined;
  return typeof signal.reason === 'string' ? signal.reason : 'cancel';
};
