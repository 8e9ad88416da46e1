import { randomHex } from '../../kernel/ids.ts';
import { MAX_PAGE_ITEMS } from '../../kernel/page.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import type { FileList } from '../../protocol/transfers.ts';
import { HEADERS } from '../../protocol/requests.ts';
import type { Caller } from '../../trust/caller.ts';
import type { ByteAnswer, Call } from '../edge/call.ts';
import type { ByteRange, FilePlace, WholeFile } from './disk/messages.ts';
import type { DiskThread } from './disk-thread.ts';
import { readForm, type Form } from './form.ts';
import { limitsOf, mayWriteRunning } from './caller-limits.ts';
import type { TransferNews } from './tell.ts';

/** A page of a folder, by name. */
export const listFiles = async (
  disk: DiskThread,
  { path, cursor, limit }: ParsedInputOf<'file.list'>,
  caller: Caller,
): Promise<FileList> => {
  // The thread's own types say what it answers.
  return (await disk.call('list', {
    path,
    limits: limitsOf(caller),
    cursor,
    limit: limit ?? MAX_PAGE_ITEMS,
  })) as FileList;
};

/** What one file's movement needs. */
interface Moving {
  readonly disk: DiskThread;
  readonly news: TransferNews;
}

/** Writes the file of a form. */
export const pushFile = async (
  moving: Moving,
  input: ParsedInputOf<'file.push'>,
  call: Call,
): Promise<OutputOf<'file.push'>> => {
  const begun = performance.now();
  refuseLarge(call, moving.disk.maxFileSize);
  if (call.body === undefined) throw new LoopsyError('invalid_request', { message: 'there is no form' });
  const form = await readForm(call.body, call.contentType);
  const place = { ...placeOf(form.fields), ...placeOf(input) };
  const { path, size, checksum } = await writeFile(moving, { form, place }, call);
  call.note({ size, checksum });
  moving.news.oneFile('file.written', { path, bytes: size }, call.caller);
  return { path, size, checksum, duration: performance.now() - begun };
};

/** @throws {LoopsyError} what the disk says, and the form; this node's owner is told of it, too. */
const writeFile = async (
  { disk, news }: Moving,
  { form, place }: { readonly form: Form; readonly place: FilePlace },
  call: Call,
): Promise<Omit<OutputOf<'file.push'>, 'duration'>> => {
  const { caller } = call;
  const limits = limitsOf(caller);
  const file = { id: randomHex(16), place, limits, mayWriteRunning: mayWriteRunning(caller) };
  let { destPath = '' } = place;
  // It stands in the form, where nobody else has seen it.
  call.note({ destPath: place.destPath });
  const atEnd = async (): Promise<FilePlace> => {
    const said = { ...placeOf(await form.end()), ...place };
    destPath = said.destPath ?? destPath;
    call.note({ destPath: said.destPath });
    return said;
  };
  const release = disk.hold();
  try {
    // The thread's own types say what it answers.
    return (await disk.write({ writeFile: file }, form.file, { atEnd })) as Omit<OutputOf<'file.push'>, 'duration'>;
  } catch (thrown) {
    if (thrown instanceof LoopsyError) news.oneFailed(destPath, thrown, caller);
    throw thrown;
  } finally {
    release();
  }
};

/** What a form may have beside its file: fields, and what stands between them. */
const FORM_BYTES = 2 * 1_048_576;

/** Not a byte is taken of what is surely too large. */
const refuseLarge = ({ bodyLength = 0 }: Call, most: number): void => {
  if (bodyLength <= most + FORM_BYTES) return;
  throw new LoopsyError('file_too_large', {
    message: `the file has about ${bodyLength} bytes; at most ${most} are allowed (transfer.maxFileSize)`,
    details: { key: 'transfer.maxFileSize', size: bodyLength, most },
  });
};

const SHA256 = /^[0-9a-f]{64}$/;

const FIELDS = ['destPath', 'checksum'];

/** A checksum that is not looked at would be worse than none: no field is passed over. */
const placeOf = (fields: Readonly<Record<string, string | undefined>>): { destPath?: string; checksum?: string } => {
  const other = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (other !== undefined)
    throw new LoopsyError('invalid_request', {
      message: `there is no field "${other}" in this form`,
      hint: `the fields are: ${FIELDS.join(', ')}, and file`,
      details: { field: other },
    });
  const { destPath, checksum } = fields;
  if (checksum !== undefined && !SHA256.test(checksum))
    throw new LoopsyError('invalid_request', {
      message: 'a checksum is a sha256 in lower-case hex',
      details: { field: 'checksum' },
    });
  return { ...(destPath === undefined ? {} : { destPath }), ...(checksum === undefined ? {} : { checksum }) };
};

/** Answers with a file's bytes. */
export const pullFile = async (
  { disk, news }: Moving,
  { sourcePath }: ParsedInputOf<'file.pull'>,
  call: Call,
): Promise<ByteAnswer> => {
  const range = rangeOf(call.range);
  const readFile = { path: sourcePath, limits: limitsOf(call.caller), ...(range === undefined ? {} : { range }) };
  const reading = disk.read({ readFile });
  const first = await reading.next();
  const { size, mtimeMs, from, to } = JSON.parse(Buffer.from(first.value as Uint8Array).toString()) as WholeFile;
  call.note({ size });
  let checksum = '';
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (let next = await reading.next(); ; next = await reading.next()) {
        if (next.done === true) {
          checksum = String(next.value);
          news.oneFile('file.read', { path: sourcePath, bytes: to - from }, call.caller);
          return;
        }
        yield next.value;
      }
    } finally {
      await reading.return(undefined);
    }
  }
  const headers = {
    [HEADERS.size]: String(size),
    [HEADERS.modified]: String(Math.round(mtimeMs)),
    'accept-ranges': 'bytes',
  };
  if (range !== undefined) {
    const part = { 'content-range': `bytes ${from}-${to - 1}/${size}` };
    return { status: 206, headers: { ...headers, ...part }, length: to - from, chunks: chunks() };
  }
  return {
    headers,
    chunks: chunks(),
    trailer: { names: [HEADERS.checksum], read: () => ({ [HEADERS.checksum]: checksum }) },
  };
};

/** One range of bytes; more than one, or another unit, means the whole, as HTTP allows. */
const rangeOf = (header: string | undefined): ByteRange | undefined => {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  if (from === '') return Number(to) === 0 ? undefined : { last: Number(to) };
  if (to === '') return { from: Number(from) };
  return Number(to) < Number(from) ? undefined : { from: Number(from), to: Number(to) };
};
