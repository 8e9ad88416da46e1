import { LoopsyError } from '../protocol/errors.ts';
import type { Stdin } from './cli.ts';
import { watchStdin } from './stdin.ts';

/**
 * All of stdin as text.
 * @throws {LoopsyError} `invalid_request` where it is no UTF-8, or larger than `maxBytes`: `tooMuch` says so.
 */
export const readText = async (
  stdin: Stdin,
  { maxBytes, tooMuch }: { readonly maxBytes: number; readonly tooMuch: string },
): Promise<string> => {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of watchStdin(stdin).bytes()) {
    size += chunk.length;
    if (size > maxBytes) throw new LoopsyError('invalid_request', { message: `stdin has more: ${tooMuch}` });
    chunks.push(Uint8Array.from(chunk));
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new LoopsyError('invalid_request', {
      message: 'stdin is no text in UTF-8, and what is no text would not arrive as it is',
      hint: 'send it as a file: `loopsy send <peer> - <dest>`; or encode it, e.g. with base64',
      cause,
    });
  }
};
