import { isRecord } from './record.ts';

/**
 * The one catalogue of errors. A code is fixed for ever; a name is what programs compare; a message says what
 * happened, and the hint what to do next. Every surface maps errors through this table and nothing else.
 */

/** What a process ends with. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notAuthorised: 4,
  unreachable: 5,
  timedOut: 6,
} as const;

/** One row of the catalogue. `retry` is true where the same request may succeed later without a change. */
export interface ErrorRow {
  readonly code: number;
  readonly status: number;
  readonly exit: number;
  readonly retry: boolean;
  readonly message: string;
  readonly hint?: string;
}

const row = (
  [code, status, exit]: readonly [code: number, status: number, exit: number],
  message: string,
  more: { retry?: boolean; hint?: string } = {},
): ErrorRow => ({
  code,
  status,
  exit,
  retry: more.retry ?? false,
  message,
  ...(more.hint === undefined ? {} : { hint: more.hint }),
});

/** Every error that a loopsy node, client or command can answer with. */
export const ERRORS = {
  missing_key: row([1001, 401, EXIT.notAuthorised], 'this request carries no key', {
    hint: 'send "Authorization: Bearer <key>"; `loopsy key show` prints the owner\'s key',
  }),
  invalid_key: row([1002, 403, EXIT.notAuthorised], 'this key or certificate is not known here', {
    hint: 'check the key with `loopsy key list`; another machine is trusted with `loopsy pair`',
  }),
  expired_key: row([1003, 401, EXIT.notAuthorised], 'this key or grant has expired', {
    hint: 'the owner of that node can extend it: a key with `loopsy key grant`, a peer with `loopsy peers grant`',
  }),
  scope_missing: row([1004, 403, EXIT.notAuthorised], 'the caller is not allowed to do this', {
    hint: 'the owner of that node can change it with `loopsy peers grant` or `loopsy key grant`',
  }),
  revoked: row([1005, 403, EXIT.notAuthorised], 'this key or peer was revoked', {
    hint: 'the owner of that node can trust it again with `loopsy pair` or `loopsy key add`',
  }),
  foreign_origin: row([1006, 403, EXIT.notAuthorised], 'the Host or Origin of this request is not this node', {
    hint: 'use http://127.0.0.1:<port>; pages of other origins are never served',
  }),
  plain_http: row([1007, 426, EXIT.notAuthorised], 'plain HTTP is served on this machine only', {
    hint: 'from another machine use TLS and a named key (`loopsy key add`)',
  }),
  peer_not_found: row([2001, 404, EXIT.failed], 'no peer has that name, id or address', {
    hint: '`loopsy peers` lists the known ones',
  }),
  peer_offline: row([2002, 503, EXIT.unreachable], 'the peer is offline', {
    retry: true,
    hint: 'start loopsy there; `loopsy doctor` says what can be reached',
  }),
  peer_unreachable: row([2003, 503, EXIT.unreachable], 'the peer can not be reached', {
    retry: true,
    hint: 'check the address, the network and the firewall; `loopsy doctor` says more',
  }),
  peer_handshake: row([2004, 502, EXIT.unreachable], 'what answers there is not the peer that is trusted here', {
    hint: '`loopsy connect <address>` shows both fingerprints; a machine that was set up anew is paired again: `loopsy pair`',
  }),
  peer_version: row([2005, 409, EXIT.failed], 'the peer speaks another version', {
    hint: 'update loopsy on the older machine',
  }),
  outcome_unknown: row(
    [2006, 504, EXIT.unreachable],
    'the link broke and the peer restarted: whether this was done is not known',
    {
      hint: 'look on that machine before you repeat it',
    },
  ),
  command_denied: row([3001, 403, EXIT.notAuthorised], 'this command is denied here', {
    hint: 'the owner of that node can change execution.denylist or execution.allowlist in its config.yaml',
  }),
  execution_timeout: row([3002, 408, EXIT.timedOut], 'the run took longer than its time-out'),
  too_many_jobs: row([3003, 429, EXIT.failed], 'too many runs are waiting', {
    retry: true,
    hint: 'wait for one to end, or raise execution.maxQueued',
  }),
  execution_failed: row([3004, 422, EXIT.usage], 'the command could not be started'),
  execution_cancelled: row([3005, 409, EXIT.failed], 'the run was cancelled'),
  job_not_found: row([3006, 404, EXIT.failed], 'no job has that id', { hint: '`loopsy jobs list` shows them' }),
  path_denied: row([4001, 403, EXIT.notAuthorised], 'this path is not allowed'),
  file_not_found: row([4002, 404, EXIT.failed], 'there is no such file or folder', {
    hint: '`loopsy ls <machine> <path>` shows what is there; this machine is called localhost',
  }),
  file_too_large: row([4003, 413, EXIT.failed], 'the file is larger than this node takes or gives', {
    hint: 'the owner of that node can change transfer.maxFileSize in its config.yaml',
  }),
  checksum_mismatch: row([4004, 422, EXIT.failed], 'the bytes that came are not those that were announced'),
  transfer_failed: row([4005, 500, EXIT.failed], 'the file could not be read or written'),
  source_changed: row([4006, 409, EXIT.failed], 'the file changed while it was read', {
    retry: true,
    hint: 'run the same command again when nothing writes to it',
  }),
  target_busy: row([4007, 409, EXIT.failed], 'another transfer is writing this file', {
    retry: true,
    hint: '`loopsy transfers list` on both machines shows it',
  }),
  disk_full: row([4008, 507, EXIT.failed], 'there is not enough space on the disk there', {
    hint: 'make room there, and run the same command again',
  }),
  disk_read_only: row([4009, 403, EXIT.failed], 'that place can not be written to', {
    hint: 'name another place, or make that disk writable',
  }),
  name_unusable: row([4010, 422, EXIT.failed], 'this name can not be used there', {
    hint: 'rename it, or leave it out with --exclude',
  }),
  wrong_type: row([4011, 409, EXIT.failed], 'something of another kind is in the way there'),
  transfer_not_found: row([4012, 404, EXIT.failed], 'no transfer has that id', {
    hint: '`loopsy transfers list --all` shows them',
  }),
  transfer_cancelled: row([4013, 409, EXIT.failed], 'the transfer was cancelled'),
  range_unsatisfiable: row([4014, 416, EXIT.usage], 'the file has no such bytes'),
  context_not_found: row([5001, 404, EXIT.failed], 'there is no such key', {
    hint: '`loopsy context list` shows what is there',
  }),
  context_too_large: row([5002, 413, EXIT.failed], 'the value is larger than 1 MiB', {
    hint: 'send a file instead (`loopsy send`), and share its path',
  }),
  context_full: row([5003, 507, EXIT.failed], 'the context is full', {
    hint: 'delete what is not needed, or give entries a time to live (--ttl); the owner of that node can raise the setting that the message names',
  }),
  context_conflict: row([5004, 409, EXIT.failed], 'the entry has changed since', {
    hint: 'read it again, and repeat with its revision',
  }),
  lease_held: row([5005, 409, EXIT.failed], 'somebody else holds this lease', { retry: true }),
  lease_lost: row([5006, 409, EXIT.failed], 'this lease is not held any more', {
    hint: 'acquire it again, and look at what it guards: somebody else may have changed that',
  }),
  message_not_found: row([7001, 404, EXIT.failed], 'there is no such message', {
    hint: '`loopsy message inbox --all` and `loopsy message outbox` list what there is',
  }),
  message_refused: row([7002, 403, EXIT.failed], 'the message was refused'),
  message_too_large: row([7003, 413, EXIT.failed], 'the body is larger than 256 KiB', {
    hint: 'send a file with `loopsy send`, and its path in the message',
  }),
  message_loop: row([7004, 429, EXIT.failed], 'too many messages, or a chain of replies that does not end', {
    retry: true,
    hint: 'settings `messages` of either node: perMinute, maxChain, loopGuard',
  }),
  message_expired: row([7005, 410, EXIT.failed], 'the life of the message is over'),
  message_taken: row([7006, 409, EXIT.failed], 'somebody has taken this message already'),
  mailbox_full: row([7007, 507, EXIT.failed], 'the mailbox is full', {
    hint: 'read what is there, or set messages.maxBytes in the settings',
  }),
  pair_not_open: row([8001, 404, EXIT.failed], 'no pairing is open there', {
    hint: 'run `loopsy pair` on the other machine and enter the code that it shows',
  }),
  pair_expired: row([8002, 410, EXIT.failed], 'this pairing is over', {
    hint: 'run `loopsy pair` again; a code lives five minutes',
  }),
  pair_wrong_code: row([8003, 403, EXIT.failed], 'wrong code, or not the machine you meant', {
    hint: 'read the code again on the other screen: after three wrong ones it shows a new one',
  }),
  pair_busy: row([8004, 409, EXIT.failed], 'this code was used', {
    hint: 'was it not you? Say no on the other screen, and run `loopsy pair` there again',
  }),
  pair_open: row([8005, 409, EXIT.failed], 'a pairing is open already', {
    hint: '`loopsy pair` goes on with it, and Ctrl-C there ends it',
  }),
  pair_refused: row([8006, 409, EXIT.failed], 'the other side said no', {
    hint: 'if that was a mistake, run `loopsy pair` again',
  }),
  internal: row([9001, 500, EXIT.failed], 'something went wrong inside the node', {
    hint: '`loopsy logs --node` shows it under the reference given',
  }),
  rate_limited: row([9002, 429, EXIT.failed], 'too many requests in a short time', { retry: true }),
  invalid_request: row([9003, 400, EXIT.usage], 'the request is not valid'),
  unknown_route: row([9004, 404, EXIT.usage], 'there is no such route', {
    hint: 'GET /api/v1/openapi.json lists them',
  }),
  body_too_large: row([9005, 413, EXIT.failed], 'the body is larger than this operation takes'),
  node_stopping: row([9006, 503, EXIT.unreachable], 'the node is stopping', { retry: true }),
  node_not_running: row([9007, 503, EXIT.notRunning], 'the node is not running', {
    hint: 'start it with `loopsy start`',
  }),
  request_timeout: row([9008, 408, EXIT.timedOut], 'the request was not complete in time', { retry: true }),
  conflict: row([9009, 409, EXIT.failed], 'this clashes with what is there'),
  too_many_streams: row([9010, 429, EXIT.failed], 'too many streams are open', { retry: true }),
  config_invalid: row([9011, 422, EXIT.failed], 'the configuration can not be used'),
  data_folder: row([9012, 500, EXIT.failed], 'the data folder can not be used', {
    hint: 'name another folder with --data-dir',
  }),
} as const satisfies Record<string, ErrorRow>;

/** The name of an error: what programs compare. */
export type ErrorName = keyof typeof ERRORS;

/** The body of every error answer on every surface. */
export interface ErrorBody {
  readonly error: {
    readonly code: number;
    readonly name: string;
    readonly message: string;
    readonly hint?: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}

/** What an error is thrown with beside its name. */
export interface ErrorParts {
  /** Says what happened, with the names and values of this case; default: the catalogue's message. */
  readonly message?: string;
  /** What to do next; default: the catalogue's hint; empty: none, where that is no help. */
  readonly hint?: string;
  /** Facts for programs, e.g. `{ field: "cwd" }`. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The only error type that crosses rooms. Anything else that reaches the edge is `internal`. */
export class LoopsyError extends Error {
  override readonly name = 'LoopsyError';
  readonly error: ErrorName;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(error: ErrorName, parts: ErrorParts = {}) {
    super(parts.message ?? ERRORS[error].message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.error = error;
    const catalogue: ErrorRow = ERRORS[error];
    this.hint = (parts.hint ?? catalogue.hint) || undefined;
    this.details = parts.details;
  }

  get code(): number {
    return ERRORS[this.error].code;
  }

  get status(): number {
    return ERRORS[this.error].status;
  }

  get exit(): number {
    return ERRORS[this.error].exit;
  }

  get retry(): boolean {
    return ERRORS[this.error].retry;
  }

  /** The REST shape. */
  toBody(): ErrorBody {
    return {
      error: {
        code: this.code,
        name: this.error,
        message: this.message,
        ...(this.hint === undefined ? {} : { hint: this.hint }),
        ...(this.details === undefined ? {} : { details: this.details }),
      },
    };
  }
}

/** True where `name` is in the catalogue. */
const isErrorName = (name: string): name is ErrorName => Object.hasOwn(ERRORS, name);

/**
 * Rebuilds the error that a node answered with.
 * A name that this version does not know (a newer peer) keeps its text and becomes `internal`.
 */
export const errorFromBody = (body: unknown): LoopsyError | undefined => {
  if (typeof body !== 'object' || body === null || !('error' in body)) return undefined;
  const { error } = body;
  if (typeof error !== 'object' || error === null || !('name' in error) || !('message' in error)) return undefined;
  const { name, message } = error;
  if (typeof name !== 'string' || typeof message !== 'string') return undefined;
  const hint = 'hint' in error && typeof error.hint === 'string' ? error.hint : undefined;
  const details = 'details' in error && isRecord(error.details) ? error.details : undefined;
  return new LoopsyError(isErrorName(name) ? name : 'internal', {
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  });
};
