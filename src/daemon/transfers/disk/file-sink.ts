import { createHash, type Hash } from 'node:crypto';
import { closeSync, createReadStream, lstatSync, mkdirSync, openSync, writeSync, type Stats } from 'node:fs';
import { join } from 'node:path';

import { LoopsyError } from '../../../protocol/errors.ts';
import { isRecord } from '../../../protocol/record.ts';
import type { Draft } from './draft.ts';
import { endless, fileError, fileFault } from './faults.ts';
import { NEW_FILE_MODE } from './file-writer.ts';
import type { Sink } from './incoming.ts';
import type { FilePlace, WriteFile } from './messages.ts';
import { removeFile } from './opened.ts';
import { PIECE_BYTES } from './pieces.ts';
import { Target, type TargetParts } from './target.ts';

/** What a target is told that is one file, and is replaced whatever it is. */
const PLAIN = {
  checksum: false,
  update: false,
  noClobber: false,
  dryRun: false,
  digest: false,
  isExact: true,
} as const;

/** Takes one file whose size nobody has said. Where its place is said behind its bytes, they lie in the data folder until then. */
export class FileSink implements Sink {
  readonly #parts: TargetParts;
  readonly #write: WriteFile;
  readonly #hash: Hash = createHash('sha256');
  #size = 0;
  #target: Target | undefined;
  #draft: Draft | undefined;
  /** The draft, also when it is over. */
  readonly #begun: Draft[] = [];
  #lot: number | undefined;
  #spool: { readonly file: string; readonly fd: number } | undefined;
  /** Told when nothing of it is open any more. */
  readonly #onEnd: () => void;
  #isOver = false;

  private constructor(parts: TargetParts, write: WriteFile, onEnd: () => void) {
    this.#parts = parts;
    this.#write = write;
    this.#onEnd = onEnd;
  }

  /** Opens the place, where it is known. @throws {LoopsyError} where nothing may be written there. */
  static async begin(parts: TargetParts, write: WriteFile, onEnd: () => void): Promise<FileSink> {
    const sink = new FileSink(parts, write, onEnd);
    try {
      if (write.place.destPath === undefined) sink.#openSpool();
      else await sink.#openDraft(write.place.destPath);
      return sink;
    } catch (thrown) {
      await sink.#close();
      throw thrown;
    }
  }

  #openSpool(): void {
    const { journalDir } = this.#parts.around;
    mkdirSync(journalDir, { recursive: true, mode: 0o700 });
    const file = join(journalDir, `${this.#write.id}.spool`);
    this.#spool = { file, fd: openSync(file, 'wx', 0o600) };
  }

  async #openDraft(dest: string): Promise<void> {
    const { limits, mayWriteRunning } = this.#write;
    const { platform } = this.#parts.around;
    // Errors name it as it was asked for.
    const roots = [{ name: dest, type: 'file' as const }];
    this.#target = new Target(this.#parts, {
      ...PLAIN,
      dest,
      roots,
      sourcePlatform: platform,
      limits,
      mayWriteRunning,
    });
    const [real = ''] = await this.#target.open();
    await this.#target.places.judge([0]);
    const old = lstatSync(real, { throwIfNoEntry: false });
    refuseOther(old, dest);
    const mode = old?.isFile() === true ? old.mode & 0o777 : NEW_FILE_MODE;
    const file = [0, '', 0, Date.now(), mode] as const;
    this.#lot = this.#target.announce([file]);
    this.#draft = this.#target.writer.create(file, Number.POSITIVE_INFINITY);
    this.#begun.push(this.#draft);
  }

  take(bytes: Uint8Array): void {
    if (this.#isOver) throw new LoopsyError('transfer_not_found', { message: 'this file is over' });
    const { maxFileSize } = this.#parts.around;
    const shown = this.#write.place.destPath ?? 'the file';
    this.#size += bytes.length;
    if (this.#size > maxFileSize) throw endless(shown, maxFileSize);
    this.#hash.update(bytes);
    try {
      this.#put(bytes);
    } catch (thrown) {
      throw fileFault(thrown, shown);
    }
  }

  #put(chunk: Uint8Array): void {
    if (this.#spool === undefined) return this.#draft?.write(chunk);
    for (let at = 0; at < chunk.length;) {
      const taken = writeSync(this.#spool.fd, chunk, at);
      if (taken === 0) throw Object.assign(new Error('the disk takes no more'), { code: 'ENOSPC' });
      at += taken;
    }
  }

  async recheck(): Promise<void> {
    if (this.#draft !== undefined) await this.#target?.writer.recheck(this.#draft);
  }

  async end(value: unknown): Promise<{ readonly path: string; readonly size: number; readonly checksum: string }> {
    const fields = isRecord(value) ? value : {};
    const checksum = this.#hash.digest('hex');
    let shown = this.#write.place.destPath ?? '';
    try {
      const place = placeIn(this.#write.place, fields);
      shown = place.destPath;
      if (place.checksum !== undefined && place.checksum !== checksum)
        throw fileError(
          'checksum_mismatch',
          shown,
          `came with the sha256 ${checksum}, and ${place.checksum} was announced`,
        );
      if (this.#spool !== undefined) await this.#fromSpool(shown, this.#spool.file);
      return { path: await this.#publish(), size: this.#size, checksum };
    } catch (thrown) {
      throw fileFault(thrown, shown);
    } finally {
      await this.#close();
    }
  }

  async #fromSpool(dest: string, file: string): Promise<void> {
    await this.#openDraft(dest);
    for await (const chunk of createReadStream(file, { highWaterMark: PIECE_BYTES }))
      this.#draft?.write(chunk as Buffer);
  }

  async #publish(): Promise<string> {
    const [target, draft] = [this.#target, this.#draft];
    if (draft === undefined || target === undefined) throw new LoopsyError('transfer_failed');
    const { folder, name } = draft.wanted;
    folder.hold();
    try {
      draft.finish();
      await draft.sync();
      // The rules may have changed while it came.
      await target.writer.judge(draft);
      refuseOther(lstatSync(folder.path(name), { throwIfNoEntry: false }), draft.wanted.shown);
      this.#draft = undefined;
      await target.writer.publish(draft);
      folder.sync();
      return folder.realOf(name);
    } finally {
      folder.release();
    }
  }

  abort(): void {
    void this.#close();
  }

  async #close(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    const [target, draft, spool] = [this.#target, this.#draft, this.#spool];
    this.#draft = undefined;
    if (draft !== undefined) target?.writer.discard(draft);
    if (this.#lot !== undefined) this.#parts.journal.settleSmall(this.#lot, this.#begun);
    if (spool !== undefined) {
      closeSync(spool.fd);
      removeFile(spool.file);
    }
    await target?.close();
    this.#onEnd();
  }
}

/** A device, a socket or a pipe is somebody's, and no old state of a file. */
const refuseOther = (old: Stats | undefined, shown: string): void => {
  if (old === undefined || old.isFile() || old.isSymbolicLink() || old.isDirectory()) return;
  throw fileError('wrong_type', shown, [
    'is neither a file nor a link',
    { hint: 'name another place, or remove it there' },
  ]);
};

/** @throws {LoopsyError} `invalid_request` where nobody has said where the file goes. */
const placeIn = (
  before: FilePlace,
  fields: Readonly<Record<string, unknown>>,
): { destPath: string; checksum?: string } => {
  const { destPath = fields['destPath'], checksum = fields['checksum'] } = before;
  if (typeof destPath !== 'string' || destPath === '') {
    throw new LoopsyError('invalid_request', {
      message: 'the form does not say where the file goes',
      details: { field: 'destPath' },
    });
  }
  return { destPath, ...(typeof checksum === 'string' ? { checksum } : {}) };
};
