import type { z } from 'zod';

import type { ErrorName } from './errors.ts';
import type { Scope } from './scopes.ts';

/**
 * Who may call an operation.
 * `public`: anyone who reaches the port. `link`: a trusted node, over its link. `owner`: the owner, on loopback; never
 * granted. `agent-secret`: who holds this machine's agent secret, on loopback. `pairing`: a stranger who shows neither
 * certificate nor key, over TLS. Else: the scope that a grant must hold.
 */
export type Access = 'public' | 'link' | 'owner' | 'agent-secret' | 'pairing' | Scope;

/** The rate limit that counts a call (config `rateLimits`), or none. */
export type LimitCategory = 'execute' | 'transfer' | 'context';

/**
 * The shape of an operation's bytes. `json`: a JSON body and a JSON answer. `stream`: a JSON body and an answer of
 * events, as SSE or as frames. `upload`: a byte body and a JSON answer. `download`: a JSON body and an answer of bytes.
 * `exchange`: a byte body, and an answer of bytes that comes while the body does.
 */
export type Kind = 'json' | 'stream' | 'upload' | 'download' | 'exchange';

/**
 * How an operation relates to objects that have owners.
 * `creates`: the answer names a new object, and a repeat of the request gets the same one. `uses`: the input field
 * `field` names one. `lists`: the output's `list` holds rows whose `field` names one; rows of other callers are left
 * out. Where the input field `lasting` is true, the object outlives its request: who started it is on disk before the
 * answer names it.
 */
interface ObjectRule {
  readonly kind: 'job' | 'transfer';
  readonly role: 'creates' | 'uses' | 'lists';
  readonly field: string;
  readonly list?: string;
  readonly lasting?: string;
}

/** One operation: everything that surfaces derive from the table. */
export interface Operation<In extends z.ZodType = z.ZodType, Out extends z.ZodType = z.ZodType> {
  /** One sentence, for help texts and documentation. */
  readonly summary: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /**
   * Below the base path; `:name` stands for an input field. A query in it (`?watch=true`) tells the operation from
   * another one of the same method and path.
   */
  readonly path: string;
  readonly access: Access;
  /** True where the request may be forwarded to a peer with `?peer=`. */
  readonly remote: boolean;
  /** True where the operation makes this node address other nodes: refused over a link. */
  readonly outbound?: boolean;
  /** True where only a trusted node may ask, over its link, with the scope that `access` names. */
  readonly linkOnly?: boolean;
  /** True where a repeat could do harm: such a request is carried out once for each request id. */
  readonly effect: boolean;
  readonly limit?: LimitCategory;
  /** Input fields that the audit record keeps; secrets and contents are never among them. */
  readonly audit: readonly string[];
  /** True where the audit record is on disk before the answer leaves. */
  readonly auditFirst?: boolean;
  readonly kind: Kind;
  /** The status of a good answer; default 200. 202: it goes on behind the answer. */
  readonly status?: 202;
  /** True for an upload whose body is a form (`multipart/form-data`): the handler reads the fields from it. */
  readonly form?: true;
  /** Input fields that name peers which this node will address: each must be in the caller's reach. */
  readonly peers?: readonly string[];
  /** The most bytes a body may have; default 64 KiB. */
  readonly bodyLimit?: number;
  readonly input: In;
  /** The content type of an answer that is text: its output is a string then. Default: JSON. */
  readonly text?: string;
  /** The JSON answer; for a stream, one event. */
  readonly output: Out;
  readonly errors: readonly ErrorName[];
  readonly object?: ObjectRule;
  /** For a stream that creates an object: the stream that goes on from a cursor, given the object's id. */
  readonly resumeWith?: string;
  /** The command that carries it out, or why there is none. */
  readonly cli: string | { readonly none: string };
}

/** Keeps the exact schema types of a row, and the shape of its bytes. */
export const operation = <In extends z.ZodType, Out extends z.ZodType, Shape extends Kind>(
  row: Operation<In, Out> & { readonly kind: Shape },
): Operation<In, Out> & { readonly kind: Shape } => row;

/** The names of the path fields: `/execute/:jobId` → `["jobId"]`. */
export const pathFields = (path: string): string[] =>
  [...path.matchAll(/:([a-zA-Z]+)/g)].map((match) => match[1] ?? '');

/** True where the body is bytes. */
export const takesBytes = ({ kind }: Pick<Operation, 'kind'>): boolean => kind === 'upload' || kind === 'exchange';

/** True where the input's remaining fields travel in the query: reads, deletes and byte bodies. */
export const inputInQuery = (op: Pick<Operation, 'method' | 'kind'>): boolean =>
  takesBytes(op) || op.method === 'GET' || op.method === 'DELETE';

/** The part of an operation that says how a request for it looks. */
export type Route = Pick<Operation, 'method' | 'path' | 'kind'>;

/** A request as it travels: the path below the base with its query, and the JSON body if there is one. */
export interface EncodedRequest {
  readonly path: string;
  readonly body: string | undefined;
}

const queryText = (fields: Readonly<Record<string, unknown>>): string => {
  const parts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`);
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
};

/** A path, which may have a query, with more of it. */
export const withQuery = (path: string, query: string): string =>
  query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;

/** Lays an input out over path, query and body; `peer` always travels in the query. */
export const encodeRequest = (
  route: Route,
  input: Readonly<Record<string, unknown>>,
  peer?: string,
): EncodedRequest => {
  const rest: Record<string, unknown> = { ...input };
  const path = route.path.replace(/:([a-zA-Z]+)/g, (_, name: string) => {
    const value = rest[name];
    delete rest[name];
    // A segment of dots would be taken for a way up.
    return encodeURIComponent(String(value)).replace(/^\.{1,2}$/, (dots) => dots.replaceAll('.', '%2E'));
  });
  const inQuery = inputInQuery(route);
  const query = queryText({ ...(inQuery ? rest : {}), peer });
  return { path: withQuery(path, query.slice(1)), body: inQuery ? undefined : JSON.stringify(rest) };
};
