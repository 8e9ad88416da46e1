import { z } from 'zod';

import { fingerprintSchema, hostSchema, keyNameSchema, peerNameSchema, portSchema } from '../protocol/ids.ts';
import { isRecord } from '../protocol/record.ts';
import { DEFAULT_PORT } from '../protocol/version.ts';

/** The version of the settings file that this loopsy reads. */
export const CONFIG_VERSION = 2;

const MiB = 1_048_576;
const count = (least: number, most = 1_000_000): z.ZodInt => z.int().min(least).max(most);
const size = z.int().min(4096);

/** A list of paths: absolute (any system's form, kept as it is written), or below the home folder (`~`). */
const pathSchema = z
  .string()
  .max(4096)
  .regex(/^(?:~$|~[\\/]|[\\/]|[a-z]:[\\/])/i, 'a path must be absolute, or begin with ~/')
  .refine((path) => !path.includes('\0'), 'a path holds no NUL');

const MISSING_KEY = {
  error: ({ input }: { readonly input?: unknown }) =>
    input === undefined
      ? "the owner's key is missing: write 64 random hex digits there, in quotes (`openssl rand -hex 32`)"
      : undefined,
};

const authSchema = z
  .strictObject(
    {
      apiKey: z.string(MISSING_KEY).regex(/^[0-9a-f]{64}$/, "the owner's key has 64 hex digits (0–9, a–f)"),
      allowedKeys: z
        .record(keyNameSchema, z.string().regex(/^[\x21-\x7e]{32,256}$/, 'a key has 32–256 characters without spaces'))
        .default({}),
    },
    MISSING_KEY,
  )
  .refine(({ apiKey, allowedKeys }) => {
    const keys = [apiKey, ...Object.values(allowedKeys)];
    return new Set(keys).size === keys.length;
  }, 'two names have the same key: a key tells who is asking');

/** Every key of the settings file with its default. Unknown keys are errors. */
export const configSchema = z.strictObject({
  version: z.literal(CONFIG_VERSION),
  server: z
    .strictObject({
      port: z.int().min(0).max(65_535).default(DEFAULT_PORT).describe('0: any free one'),
      host: hostSchema.default('0.0.0.0'),
      hostname: z
        .string()
        .regex(/^[^\p{C}]{1,255}$/u, 'a host name has 1–255 visible characters')
        .optional(),
    })
    .prefault({}),
  auth: authSchema,
  tls: z
    .strictObject({
      enabled: z.boolean().default(true),
      pinnedCerts: z.record(peerNameSchema, fingerprintSchema).default({}),
    })
    .prefault({}),
  execution: z
    .strictObject({
      env: z
        .record(z.string().regex(/^[^=\0]{1,256}$/, 'this is no name of a variable'), z.string().max(131_072))
        .default({}),
      denylist: z
        .array(z.string().min(1))
        .max(1000)
        .default(['rm', 'rmdir', 'format', 'mkfs', 'dd', 'shutdown', 'reboot']),
      allowlist: z.array(z.string().min(1)).max(1000).default([]),
      maxConcurrent: count(1, 1000).default(10),
      maxQueued: count(0, 10_000).default(200),
      defaultTimeout: count(0, 2_147_483_647).default(300_000),
    })
    .prefault({}),
  transfer: z
    .strictObject({
      allowedPaths: z.array(pathSchema).max(1000).default(['~']),
      deniedPaths: z.array(pathSchema).max(1000).optional(),
      maxFileSize: z
        .int()
        .min(0)
        .default(1024 * MiB),
    })
    .prefault({}),
  rateLimits: z
    .strictObject({
      execute: count(1).default(30),
      transfer: count(1).default(10),
      context: count(1).default(60),
    })
    .prefault({}),
  discovery: z
    .strictObject({
      enabled: z.boolean().default(true),
      quiet: z.boolean().default(false),
      interfaces: z.array(z.string().min(1).max(255)).max(100).default([]),
      manualPeers: z
        .array(z.strictObject({ address: hostSchema, port: portSchema.default(DEFAULT_PORT) }))
        .max(1000)
        .default([]),
    })
    .prefault({}),
  tasks: z
    .strictObject({ maxConcurrent: count(1, 1000).default(3), timeout: count(0, 2_147_483_647).default(1_800_000) })
    .prefault({}),
  context: z.strictObject({ maxBytes: size.default(256 * MiB), maxBytesPerPeer: size.default(64 * MiB) }).prefault({}),
  messages: z
    .strictObject({
      ttl: count(1, 31_536_000).default(604_800),
      perMinute: count(1).default(120),
      maxChain: count(1).default(32),
      loopGuard: z.boolean().default(true),
      maxBytes: size.default(64 * MiB),
    })
    .prefault({}),
  jobs: z.strictObject({ maxOutputBytes: size.default(100 * MiB), keepDays: count(1, 3650).default(7) }).prefault({}),
  audit: z.strictObject({ maxBytes: size.default(10 * MiB), keep: count(1, 1000).default(10) }).prefault({}),
  power: z.strictObject({ keepAwake: z.boolean().default(true) }).prefault({}),
  logging: z
    .strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info'), file: pathSchema.optional() })
    .prefault({}),
});

/** What a file says, with the defaults that are the same everywhere. */
export type ParsedConfig = z.output<typeof configSchema>;

type Complete<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

/** The settings in force: complete, paths with `~` expanded. */
export type Config = Omit<ParsedConfig, 'server' | 'transfer' | 'logging'> & {
  readonly server: Complete<ParsedConfig['server']>;
  readonly transfer: Complete<ParsedConfig['transfer']>;
  readonly logging: Complete<ParsedConfig['logging']>;
};

/** Keys whose entries are named by people: what stands behind them is one name, dots included. */
const RECORDS = ['auth.allowedKeys', 'tls.pinnedCerts', 'execution.env'];

const unwrap = (schema: unknown): unknown =>
  schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional
    ? unwrap(schema.unwrap())
    : schema;

/** The keys that may stand at a place of the file: `["server"]` → `["port", …]`. Empty where it holds no fixed keys. */
export const keysAt = (path: readonly PropertyKey[]): string[] => {
  let at: unknown = configSchema;
  for (const part of path) {
    if (at instanceof z.ZodObject) at = unwrap(at.shape[String(part)]);
    else at = at instanceof z.ZodArray ? unwrap(at.element) : undefined;
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
};

/** Every key below a section, as dotted names: `server.port`. `version` is not among them. */
export const CONFIG_KEYS: readonly string[] = keysAt([]).flatMap((section) =>
  keysAt([section]).map((key) => `${section}.${key}`),
);

/** Keys that act after a restart of the node; all others act at once. */
export const RESTART_KEYS = ['server.port', 'server.host', 'tls.enabled'] as const;

/**
 * Where a dotted key stands in the file: `auth.allowedKeys.ci.west` → `["auth", "allowedKeys", "ci.west"]`.
 * Undefined where there is no such key.
 */
export const pathOfKey = (key: string): string[] | undefined => {
  if (CONFIG_KEYS.includes(key)) return key.split('.');
  const record = RECORDS.find((name) => key.startsWith(`${name}.`));
  const entry = record === undefined ? '' : key.slice(record.length + 1);
  return record === undefined || entry === '' || entry === '__proto__' ? undefined : [...record.split('.'), entry];
};

/** The value of a dotted key. */
export const valueOfKey = (config: Config, key: string): unknown =>
  pathOfKey(key)?.reduce<unknown>((at, part) => (isRecord(at) ? at[part] : undefined), config);
