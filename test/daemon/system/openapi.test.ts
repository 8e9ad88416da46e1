import { describe, expect, it } from 'vitest';

import { describeApi } from '../../../src/daemon/system/openapi.ts';
import { ERRORS } from '../../../src/protocol/errors.ts';
import { pathFields } from '../../../src/protocol/operation.ts';
import { OPERATION_IDS, rowOf } from '../../../src/protocol/operations.ts';
import { verifies } from '../../requirements.ts';

interface Entry {
  readonly operationId: string;
  readonly security: unknown[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema?: { readonly properties?: object } }> };
  readonly responses: Record<string, { readonly description: string; readonly content: Record<string, unknown> }>;
}

const document = describeApi();
// The document is plain JSON; the tests below check the shape that they read.
const paths = document['paths'] as Record<string, Record<string, Entry>>;

const entryOf = (id: (typeof OPERATION_IDS)[number]): Entry => {
  const { path, method } = rowOf(id);
  const entry = paths[path.replaceAll(/:([a-zA-Z]+)/g, '{$1}')]?.[method.toLowerCase()];
  if (entry === undefined) throw new Error(`no entry for ${id}`);
  return entry;
};
const namesIn = (entry: Entry, where: string): string[] =>
  (entry.parameters ?? []).filter((parameter) => parameter.in === where).map(({ name }) => name);

describe('the OpenAPI document', () => {
  it(verifies('rest.openapi', 'describes every operation of the table, and nothing else'), () => {
    expect(document.openapi).toBe('3.1.0');
    const described = Object.values(paths).flatMap((entries) =>
      Object.values(entries).map((entry) => entry.operationId),
    );
    expect(described.toSorted()).toEqual([...OPERATION_IDS].toSorted());
  });

  it('names path fields as required, and peer where an operation can be forwarded', () => {
    for (const id of OPERATION_IDS) {
      const entry = entryOf(id);
      expect(namesIn(entry, 'path'), id).toEqual(pathFields(rowOf(id).path));
      expect(namesIn(entry, 'query').includes('peer'), id).toBe(rowOf(id).remote);
      expect(
        (entry.parameters ?? []).every((one) => one.in !== 'path' || one.required === true),
        id,
      ).toBe(true);
    }
  });

  it('lays the input out over path, query and body as requests do', () => {
    expect(namesIn(entryOf('job.output'), 'query')).toEqual(['since', 'wait', 'peer']);
    expect(entryOf('job.output').requestBody).toBeUndefined();
    const signal = entryOf('job.signal').requestBody?.content['application/json']?.schema?.properties;
    expect(Object.keys(signal ?? {})).toEqual(['signal']);
    expect(Object.keys(entryOf('job.stdin').requestBody?.content ?? {})).toEqual(['application/octet-stream']);
  });

  it('describes a form by its fields and its file, and nothing of it in the query', () => {
    const entry = entryOf('file.push');
    expect(Object.keys(entry.requestBody?.content ?? {})).toEqual(['multipart/form-data']);
    expect(entry.requestBody?.content['multipart/form-data']?.schema).toMatchObject({
      properties: { destPath: { type: 'string' }, checksum: { type: 'string' }, file: { format: 'binary' } },
      required: ['file'],
    });
    expect(namesIn(entry, 'query')).toEqual(['peer']);
    expect(namesIn(entryOf('target.write'), 'query')).toEqual(['step', 'file', 'peer']);
  });

  it('describes an answer that comes while the bytes do, by one of its lines', () => {
    const entry = entryOf('target.put');
    expect(namesIn(entry, 'query')).toEqual(['file', 'at', 'to', 'turn', 'peer']);
    expect(Object.keys(entry.requestBody?.content ?? {})).toEqual(['application/octet-stream']);
    expect(entry.responses['200']?.content['application/jsonl']).toMatchObject({
      schema: { properties: { at: { type: 'integer' }, done: { const: true } } },
    });
  });

  it('describes answers of bytes, whole and in part', () => {
    const entry = entryOf('file.pull');
    for (const status of ['200', '206'])
      expect(Object.keys(entry.responses[status]?.content ?? {})).toEqual(['application/octet-stream']);
    expect(namesIn(entry, 'header')).toEqual(['range']);
    expect(Object.keys(entry.requestBody?.content ?? {})).toEqual(['application/json']);
    expect(namesIn(entryOf('job.list'), 'header')).toEqual([]);
  });

  it('names the media types of streams', () => {
    const types = Object.keys(entryOf('job.stream').responses['200']?.content ?? {});
    expect(types).toEqual(['text/event-stream', 'application/vnd.loopsy.frames']);
  });

  it('lists the errors of each operation under their status', () => {
    for (const id of OPERATION_IDS) {
      const { responses } = entryOf(id);
      for (const name of rowOf(id).errors) {
        const { status, code } = ERRORS[name];
        expect(responses[String(status)]?.description, id).toContain(`${code} ${name}`);
      }
    }
  });

  it('asks for no key where anyone may call, and for a link where only nodes may', () => {
    expect(entryOf('system.health').security).toEqual([]);
    expect(entryOf('peer.handshake').security).toEqual([{ link: [] }]);
    expect(entryOf('key.add').security).toEqual([{ key: [] }]);
  });

  it('is the same at each call, and plain JSON with references that lead somewhere', () => {
    const text = JSON.stringify(document);
    expect(JSON.stringify(describeApi())).toBe(text);
    expect(JSON.parse(text)).toEqual(document);
    const refs = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref));
    expect([...refs]).toEqual(['#/components/schemas/Error']);
  });
});
