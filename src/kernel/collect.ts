import type { IncomingMessage } from 'node:http';

/** A body was larger than its reader allows. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge';
}

/** A body ended before its end. */
export class CutShort extends Error {
  override readonly name = 'CutShort';
}

/**
 * Reads the whole body of a message. By events: an async iterator costs more than the rest of a small request.
 * @throws {TooLarge} above `limitBytes`, at once where the size is announced. @throws {CutShort} where the other side
 *   leaves in the middle.
 */
export const collectText = (message: IncomingMessage, limitBytes: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (error: Error | undefined): void => {
      message.off('data', onData);
      message.off('end', onEnd);
      message.off('close', onClose);
      if (error !== undefined) return reject(error);
      const [only] = chunks;
      return resolve((chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks)).toString('utf8'));
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > limitBytes) {
        message.pause();
        settle(new TooLarge());
      }
    };
    const onEnd = (): void => settle(message.complete ? undefined : new CutShort());
    const onClose = (): void => settle(new CutShort());
    if (Number(message.headers['content-length'] ?? 0) > limitBytes) return reject(new TooLarge());
    if (message.destroyed && !message.readableEnded) return reject(new CutShort());
    message.on('data', onData);
    message.on('end', onEnd);
    message.on('close', onClose);
    // A cut is told by `close`; without a listener an error would end the process.
    message.on('error', ignore);
  });

const ignore = (): void => undefined;
