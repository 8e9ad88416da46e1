import { z } from 'zod';

import { ERRORS, type ErrorName } from '../../protocol/errors.ts';
import { FRAMES_TYPE } from '../../protocol/frames.ts';
import { jobSliceSchema } from '../../protocol/jobs.ts';
import { inputInQuery, pathFields, takesBytes, type Operation } from '../../protocol/operation.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../../protocol/operations.ts';
import { isRecord } from '../../protocol/record.ts';
import { BASE_PATH, VERSION } from '../../protocol/version.ts';

type Json = Readonly<Record<string, unknown>>;

/** What any call but a public one can be refused with. */
const REFUSALS = ['missing_key', 'invalid_key', 'expired_key', 'scope_missing', 'revoked', 'foreign_origin'] as const;
/** What is added where other nodes are addressed. */
const FORWARDING = [
  'peer_not_found',
  'peer_offline',
  'peer_unreachable',
  'peer_handshake',
  'outcome_unknown',
  'request_timeout',
] as const;

/** Streams that also answer with a slice as JSON. */
const SLICES: Partial<Record<OperationId, z.ZodType>> = { 'job.output': jobSliceSchema };

const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return json;
};

const jsonOf = (value: unknown): Json => (isRecord(value) ? value : {});

const RANGE: Json = {
  name: 'range',
  in: 'header',
  schema: { type: 'string', description: 'the part that is wanted: bytes=5-9' },
};

const parametersOf = (op: Operation, input: Json): Json[] => {
  const properties = jsonOf(input['properties']);
  const required = Array.isArray(input['required']) ? input['required'] : [];
  const inPath = pathFields(op.path);
  const inQuery =
    inputInQuery(op) && op.form !== true ? Object.keys(properties).filter((name) => !inPath.includes(name)) : [];
  const peer = { name: 'peer', in: 'query', description: 'the peer that carries it out', schema: { type: 'string' } };
  return [
    ...inPath.map((name) => ({ name, in: 'path', required: true, schema: properties[name] ?? { type: 'string' } })),
    ...inQuery.map((name) => ({ name, in: 'query', required: required.includes(name), schema: properties[name] })),
    ...(op.kind === 'download' ? [RANGE] : []),
    ...(op.remote ? [peer] : []),
  ];
};

const BYTES: Json = { type: 'string', format: 'binary' };

/** Its fields may stand on either side of the file. */
const formOf = (input: Json): Json => {
  const properties = { ...jsonOf(input['properties']), file: { ...BYTES, description: 'the bytes; at any place' } };
  return {
    required: true,
    content: { 'multipart/form-data': { schema: { ...input, properties, required: ['file'] } } },
  };
};

const bodyOf = (op: Operation, input: Json): Json | undefined => {
  if (op.form === true) return formOf(input);
  if (takesBytes(op)) return { required: true, content: { 'application/octet-stream': {} } };
  if (inputInQuery(op)) return undefined;
  const inPath = new Set(pathFields(op.path));
  const properties = Object.entries(jsonOf(input['properties'])).filter(([name]) => !inPath.has(name));
  if (properties.length === 0) return undefined;
  const required = Array.isArray(input['required'])
    ? input['required'].filter((name) => !inPath.has(String(name)))
    : [];
  const { required: _, ...rest } = input;
  const schema = { ...rest, properties: Object.fromEntries(properties), ...(required.length > 0 ? { required } : {}) };
  return { required: required.length > 0, content: { 'application/json': { schema } } };
};

const successOf = (id: OperationId, op: Operation): Json => {
  const schema = schemaOf(op.output, 'output');
  if (op.text !== undefined) return { description: 'text', content: { [op.text.split(';', 1)[0] ?? '']: { schema } } };
  if (op.kind === 'exchange')
    return {
      description: 'a line of JSON at a time, while the bytes come',
      content: { 'application/jsonl': { schema } },
    };
  if (op.kind === 'download')
    return {
      description: 'bytes; what is known of them is said in headers and trailers named loopsy-*',
      content: { 'application/octet-stream': { schema: BYTES } },
    };
  if (op.kind !== 'stream') return { description: 'done', content: { 'application/json': { schema } } };
  const slice = SLICES[id];
  return {
    description: 'events',
    content: {
      'text/event-stream': { schema },
      [FRAMES_TYPE]: { schema: BYTES },
      ...(slice === undefined ? {} : { 'application/json': { schema: schemaOf(slice, 'output') } }),
    },
  };
};

/** Every error an operation can answer with, in the catalogue's order. */
const errorsOf = (op: Operation): ErrorName[] => {
  const names = new Set<ErrorName>([
    ...(op.access === 'public' ? [] : REFUSALS),
    ...op.errors,
    ...(op.remote || op.peers !== undefined ? FORWARDING : []),
    ...(op.limit === undefined ? [] : (['rate_limited'] as const)),
    'invalid_request',
    'internal',
  ]);
  return [...names].toSorted((a, b) => ERRORS[a].code - ERRORS[b].code);
};

const failuresOf = (op: Operation): Json => {
  const byStatus = new Map<number, string[]>();
  for (const name of errorsOf(op)) {
    const { status, code } = ERRORS[name];
    byStatus.set(status, [...(byStatus.get(status) ?? []), `${code} ${name}`]);
  }
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
  return Object.fromEntries(
    [...byStatus].map(([status, names]) => [String(status), { description: names.join(', '), content }]),
  );
};

const securityOf = (op: Operation): Json[] => {
  if (op.access === 'public' || op.access === 'pairing') return [];
  if (op.access === 'link') return [{ link: [] }];
  return op.access === 'owner' || op.access === 'agent-secret' ? [{ key: [] }] : [{ key: [] }, { link: [] }];
};

const entryOf = (id: OperationId): Json => {
  const op = rowOf(id);
  const input = schemaOf(op.input, 'input');
  const parameters = parametersOf(op, input);
  const requestBody = bodyOf(op, input);
  return {
    operationId: id,
    summary: op.summary,
    tags: [id.slice(0, id.indexOf('.'))],
    security: securityOf(op),
    'x-access': op.access,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: {
      [op.status ?? 200]: successOf(id, op),
      ...(op.kind === 'download' ? { 206: { ...successOf(id, op), description: 'a part of the bytes' } } : {}),
      ...failuresOf(op),
    },
  };
};

const ERROR_SCHEMA = z.object({
  error: z.object({
    code: z.int(),
    name: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  }),
});

const COMPONENTS = {
  securitySchemes: {
    key: { type: 'http', scheme: 'bearer', description: "the owner's key on loopback, or a named key" },
    link: { type: 'mutualTLS', description: 'the pinned certificate of a trusted node' },
  },
};

/** The OpenAPI 3.1 document of this version's operations: the same at each call. */
export const describeApi = (): { openapi: string } & Json => {
  const paths: Record<string, Record<string, Json>> = {};
  for (const id of OPERATION_IDS) {
    const { path, method } = rowOf(id);
    const template = path.replaceAll(/:([a-zA-Z]+)/g, '{$1}');
    paths[template] = { ...paths[template], [method.toLowerCase()]: entryOf(id) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'loopsy', version: VERSION, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: BASE_PATH }],
    paths,
    components: { schemas: { Error: schemaOf(ERROR_SCHEMA, 'output') }, ...COMPONENTS },
  };
};
