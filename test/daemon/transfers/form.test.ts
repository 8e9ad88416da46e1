import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';

import { readForm } from '../../../src/daemon/transfers/form.ts';
import { createClient } from '../../../src/client/client.ts';
import { fetchTransport } from '../../../src/client/fetch-transport.ts';
import { verifies } from '../../requirements.ts';

const BOUNDARY = '----loopsy.x';
const TYPE = `multipart/form-data; boundary="${BOUNDARY}"`;

interface Part {
  readonly name: string;
  readonly value: string | Buffer;
  /** What stands behind the name in its head. */
  readonly more?: string;
}

const file = (value: string | Buffer, fileName = 'x.bin'): Part => ({
  name: 'file',
  value,
  more: `; filename="${fileName}"\r\ncontent-type: application/octet-stream`,
});

const formOf = (parts: readonly Part[], end = `--${BOUNDARY}--\r\n`): Buffer =>
  Buffer.concat([
    ...parts.flatMap(({ name, value, more = '' }) => [
      Buffer.from(`--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n`),
      Buffer.from(value),
      Buffer.from('\r\n'),
    ]),
    Buffer.from(end),
  ]);

const bytesOf = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
};

/** All of a form. */
const read = async (body: Readable, type = TYPE) => {
  const form = await readForm(body, type);
  const bytes = await bytesOf(form.file);
  return { before: form.fields, fileName: form.fileName, bytes, fields: await form.end() };
};

const whole = (bytes: Buffer): Readable => Readable.from([bytes]);

describe('a form', () => {
  it(verifies('rest.push-form', 'gives its fields and its file, whichever comes first'), async () => {
    const dest: Part = { name: 'destPath', value: '~/größe 🦊' };
    const first = await read(whole(formOf([dest, file('abc', 'größe.txt')])));
    expect(first).toEqual({
      before: { destPath: '~/größe 🦊' },
      fileName: 'größe.txt',
      bytes: Buffer.from('abc'),
      fields: { destPath: '~/größe 🦊' },
    });
    const last = await read(whole(formOf([file('abc'), dest, { name: 'checksum', value: '1' }])));
    expect(last).toMatchObject({
      before: {},
      bytes: Buffer.from('abc'),
      fields: { destPath: '~/größe 🦊', checksum: '1' },
    });
  });

  it('takes a file that says no name, and a field that says a type', async () => {
    const got = await read(
      whole(
        formOf([
          { name: 'destPath', value: 'x', more: '\r\ncontent-type: application/octet-stream' },
          { name: 'file', value: 'abc' },
        ]),
      ),
    );
    expect(got).toEqual({
      before: { destPath: 'x' },
      fileName: undefined,
      bytes: Buffer.from('abc'),
      fields: { destPath: 'x' },
    });
    const empty = await read(whole(formOf([{ name: 'destPath', value: '' }, file('')])));
    expect(empty).toMatchObject({ fields: { destPath: '' }, bytes: Buffer.alloc(0) });
  });

  it('never takes a way out of a file name', async () => {
    for (const name of ['../../etc/passwd', String.raw`..\\..\\boot.ini`, '/etc/passwd'])
      expect((await read(whole(formOf([file('x', name)])))).fileName).toMatch(/^(passwd|boot\.ini)$/);
    expect((await read(whole(formOf([file('x', '..')])))).fileName).toBeUndefined();
  });

  it('is read byte for byte, however it is cut and whatever looks like its boundary', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom(
          '\r',
          '\n',
          '\r\n',
          '\r\n-',
          '\r\n--',
          `\r\n--${BOUNDARY.slice(0, -1)}`,
          `--${BOUNDARY}`,
          '\r\n\r\n',
        )
        .map((text) => Buffer.from(text)),
    );
    const content = fc
      .array(piece, { maxLength: 12 })
      .map((pieces) => Buffer.concat(pieces))
      .filter(
        (bytes) => !Buffer.concat([Buffer.from('\r\n'), bytes, Buffer.from('\r\n')]).includes(`\r\n--${BOUNDARY}`),
      );
    await fc.assert(
      fc.asyncProperty(content, fc.array(fc.nat(600), { maxLength: 30 }), fc.boolean(), async (bytes, cuts, isLast) => {
        const dest: Part = { name: 'destPath', value: 'a/b' };
        const form = formOf(isLast ? [dest, file(bytes)] : [file(bytes), dest]);
        const at = [0, ...cuts.filter((cut) => cut < form.length).toSorted((a, b) => a - b), form.length];
        const chunks = at.slice(1).map((end, index) => Buffer.from(form.subarray(at[index], end)));
        const got = await read(Readable.from(chunks.filter(({ length }) => length > 0)));
        expect(got.bytes.equals(bytes)).toBe(true);
        expect(got.fields).toEqual({ destPath: 'a/b' });
      }),
      { numRuns: 300 },
    );
  });

  it('that the client builds is read as it was meant', async () => {
    let got: unknown;
    const server = http.createServer((request, response) => {
      read(request, request.headers['content-type'] ?? '').then(
        (form) => {
          got = form;
          response.end('{}');
        },
        (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = createClient({ transport: fetchTransport({ fetch, baseUrl, token: 't' }) });
    const body = Readable.from([Buffer.from('ab'), Buffer.from('\r\n--'), Buffer.from('c')]);
    await client.pushFile({ destPath: '~/größe "x"', checksum: 'e'.repeat(64), body });
    const fields = { destPath: '~/größe "x"', checksum: 'e'.repeat(64) };
    expect(got).toEqual({ before: fields, fileName: 'file', bytes: Buffer.from('ab\r\n--c'), fields });
  });
});

describe('a form is refused', () => {
  const refusal = (body: Readable, type = TYPE): Promise<unknown> =>
    read(body, type).then(
      () => expect.fail('it was taken'),
      (error: unknown) => error,
    );
  const many = (count: number): Part[] => Array.from({ length: count }, (_, at) => ({ name: `f${at}`, value: 'x' }));

  it.each([
    ['without a file', [{ name: 'destPath', value: 'x' }], /missing/],
    ['with two files', [file('a'), file('b')], /one file/],
    ['with a file of another name', [{ ...file('a'), name: 'upload' }], /"file", not "upload"/],
    ['with too many fields', [...many(17), file('a')], /at most 16 fields/],
    ['with too many fields behind its file', [file('a'), ...many(17)], /at most 16 fields/],
    [
      'with a field that is too long',
      [{ name: 'destPath', value: 'x'.repeat(65_537) }, file('a')],
      /longer than 65536/,
    ],
    ['with a field twice', [...many(1), ...many(1), file('a')], /twice/],
    ['with a field that is no UTF-8', [{ name: 'destPath', value: Buffer.from([0x61, 0xff]) }, file('a')], /UTF-8/],
  ] as const)('%s', async (_, parts, message) => {
    const body = whole(formOf(parts));
    expect(await refusal(body)).toMatchObject({ error: 'invalid_request', message: expect.stringMatching(message) });
  });

  it('that has the most fields there may be is not', async () => {
    const fields = [...many(15), { name: 'destPath', value: 'x'.repeat(65_536) }];
    expect(Object.keys((await read(whole(formOf([...fields, file('a')])))).fields)).toHaveLength(16);
  });

  it('where it is none', async () => {
    for (const [type, text] of [
      ['application/json', '{}'],
      ['multipart/form-data', 'x'],
      ['', ''],
      [TYPE, ''],
      [TYPE, 'x'.repeat(100_000)],
      [TYPE, `--${BOUNDARY}--\r\n`],
      [TYPE, `--${BOUNDARY}\r\n\r\nabc\r\n--${BOUNDARY}--\r\n`],
    ] as const) {
      expect(await refusal(whole(Buffer.from(text)), type)).toMatchObject({ error: 'invalid_request' });
    }
  });

  it(verifies('rest.push-form', 'where it ends before its end, at whatever byte'), async () => {
    const form = formOf([{ name: 'destPath', value: 'x' }, file('abc'), { name: 'checksum', value: 'y' }], '');
    const end = Buffer.from(`--${BOUNDARY}--`);
    for (let length = 0; length < form.length + end.length; length += 1) {
      const part = Buffer.concat([form, end]).subarray(0, length);
      expect(await refusal(whole(part)), String(length)).toMatchObject({ error: 'invalid_request' });
    }
  });

  it('where its sender leaves: the file that is being read ends with an error, never as if it were whole', async () => {
    const body = new PassThrough();
    body.write(formOf([{ name: 'destPath', value: 'x' }, file('a'.repeat(1000))], '').subarray(0, -2));
    const form = await readForm(body, TYPE);
    const reading = bytesOf(form.file);
    const ending = form.end();
    setImmediate(() => body.destroy());
    await expect(reading).rejects.toMatchObject({ error: 'request_timeout' });
    await expect(ending).rejects.toMatchObject({ error: 'request_timeout' });
    const early = new PassThrough();
    const begun = readForm(early, TYPE);
    early.destroy(new Error('gone'));
    await expect(begun).rejects.toMatchObject({ error: 'request_timeout' });
  });

  it('where something is wrong behind its file, when the file has been read', async () => {
    const form = await readForm(whole(formOf([file('abc'), file('def')])), TYPE);
    const reading = bytesOf(form.file).catch(() => Buffer.alloc(0));
    await expect(form.end()).rejects.toMatchObject({ error: 'invalid_request' });
    await reading;
  });
});

describe('what is not taken of a form', () => {
  it(verifies('rest.push-form', 'is not read: its sender waits'), async () => {
    let given = 0;
    const source = Readable.from(
      (function* () {
        yield formOf([{ name: 'destPath', value: 'x' }, file('')], '').subarray(0, -2);
        for (; given < 1000; given += 1) yield Buffer.alloc(65_536);
        yield Buffer.from(`\r\n--${BOUNDARY}--\r\n`);
      })(),
      { objectMode: false },
    );
    const form = await readForm(source, TYPE);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(given * 65_536).toBeLessThan(4_000_000);
    expect(await bytesOf(form.file)).toHaveLength(65_536_000);
    await form.end();
  });

  it('is left to whoever answers: the body goes on, and is not destroyed', async () => {
    const chunks = [formOf([file('')], '').subarray(0, -2), ...Array.from({ length: 100 }, () => Buffer.alloc(65_536))];
    const body = Readable.from(chunks);
    const form = await readForm(body, TYPE);
    for await (const _ of form.file) break;
    await expect(form.end()).rejects.toMatchObject({ error: 'request_timeout' });
    expect(body.destroyed).toBe(false);
    body.resume();
    await once(body, 'end');
  });
});
