import { LoopsyError } from '../protocol/errors.ts';
import type { OutputOf } from '../protocol/operations.ts';
import type { HEADERS } from '../protocol/requests.ts';
import type { CallOptions, Client, Download } from './client.ts';
import { buildRequest } from './request.ts';
import type { TransportRequest } from './transport.ts';

// The types tie these names to the table without loading it.
const SIZE: (typeof HEADERS)['size'] = 'loopsy-size';
const CHECKSUM: (typeof HEADERS)['checksum'] = 'loopsy-checksum';

/** A file that is written, in one request. */
export interface Push extends CallOptions {
  /** Where it goes: a path of the node that writes it. */
  readonly destPath: string;
  /** Its bytes; each chunk is good until the next is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lower-case hex sha256: other bytes are refused, and what was there stays. */
  readonly checksum?: string | undefined;
}

/** A file that is read, in one request. */
export interface Pull extends CallOptions {
  /** A path of the node that has it. */
  readonly sourcePath: string;
}

/** What a pull gives. */
export interface PulledFile {
  /** Bytes. */
  readonly size: number;
  /** Each chunk is good until the next is asked for. Throws where the file is not given whole. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lower-case hex sha256 of what was read, once the body has ended; undefined where the transport can't see it. */
  checksum(): string | undefined;
}

/** The request of a push: a form, its fields first, so that the node knows where the bytes go when they come. */
export const pushRequest = ({ destPath, body, checksum, peer, signal }: Push): TransportRequest => {
  const boundary = newBoundary();
  const fields = checksum === undefined ? { destPath } : { destPath, checksum };
  return buildRequest(
    'file.push',
    {},
    {
      accept: 'application/json',
      contentType: `multipart/form-data; boundary=${boundary}`,
      body: formOf(fields, body, boundary),
      peer,
      signal,
    },
  );
};

/** @throws {LoopsyError} what the node answers. */
export const pullFile = async (client: Pick<Client, 'download'>, pull: Pull): Promise<PulledFile> => {
  const { sourcePath, ...options } = pull;
  const answer = await client.download('file.pull', { sourcePath }, options);
  return { size: sizeIn(answer), body: answer.body, checksum: () => answer.trailer(CHECKSUM) };
};

/** The output of a push. */
export type Pushed = OutputOf<'file.push'>;

const sizeIn = (answer: Download): number => {
  const text = answer.header(SIZE) ?? '';
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new LoopsyError('internal', { message: 'the node did not say how large the file is' });
};

/** Nobody who writes a file can know it beforehand. */
const newBoundary = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

async function* formOf(
  fields: Readonly<Record<string, string>>,
  file: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const part = (name: string, more: string): string =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n`;
  const before = Object.entries(fields).map(([name, value]) => `${part(name, '')}${value}\r\n`);
  // What has a file name is a file to whoever reads it.
  const head = part('file', '; filename="file"\r\ncontent-type: application/octet-stream');
  yield encoder.encode(before.join('') + head);
  yield* file;
  yield encoder.encode(`\r\n--${boundary}--\r\n`);
}
