import type { Paint, Sink } from './output.ts';

/** The scanners' margin, in modules. */
const MARGIN = 2;
const UNKNOWN_COLUMNS = 80;

/** A text as lines that a phone reads from a terminal; none where that is none, or too narrow. */
export const qrLines = async (text: string, { stdout, paint }: { stdout: Sink; paint: Paint }): Promise<string[]> => {
  if (stdout.isTTY !== true) return [];
  const { renderUnicodeCompact } = await import('uqr');
  const lines = renderUnicodeCompact(text, { border: MARGIN }).split('\n');
  // A terminal that does not know its width says 0.
  if ((lines[0] ?? '').length > (stdout.columns || UNKNOWN_COLUMNS)) return [];
  return lines.map((line) => paint.lit(line));
};
