import { hashToken } from '../kernel/token-proof.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Grant, GrantInput } from '../protocol/grants.ts';
import { keyNameSchema } from '../protocol/ids.ts';
import { resolveGrant, type EditBase, type Plan } from './trust-edits.ts';
import { KEYS, WRITE, type NamedKey } from './trust-records.ts';
import { RESERVED_KEY_NAMES, type TrustState } from './trust-state.ts';

const MAX_KEYS = 1000;

const findKey = (name: string, state: TrustState): NamedKey => {
  const key = state.keys.get(name);
  if (key !== undefined) return key;
  const names = [...state.keys.keys()].sort().slice(0, 20);
  throw new LoopsyError('invalid_key', {
    message: `no key is called "${name}"`,
    hint: names.length === 0 ? 'no key was added yet: `loopsy key add <name>`' : `known keys: ${names.join(', ')}`,
    details: { name, known: names },
  });
};

/** A key for a program, and what it may do; default: all of *collaborate*. */
export interface NewKey {
  readonly name: string;
  /** The secret: only its hash is kept. */
  readonly key: string;
  readonly grant?: GrantInput;
}

/** Adds a named key. @throws {LoopsyError} `conflict` where the name is taken (CI and ci are one) or too many are there. */
export const planKey = ({ name, key, grant }: NewKey, base: EditBase): Plan<NamedKey> => {
  const wanted = name.toLowerCase();
  const taken = [...base.state.keys.keys()].some((other) => other.toLowerCase() === wanted);
  if (RESERVED_KEY_NAMES.has(wanted) || !keyNameSchema.safeParse(name).success) {
    throw new LoopsyError('invalid_request', {
      message: `a key can not be called "${name}"`,
      details: { field: 'name' },
    });
  }
  if (taken) {
    const hint = `choose another name, or revoke it first: \`loopsy key revoke ${name}\``;
    throw new LoopsyError('conflict', {
      message: `there is a key called "${name}" already`,
      hint,
      details: { field: 'name' },
    });
  }
  if (base.state.keys.size >= MAX_KEYS) {
    throw new LoopsyError('conflict', { message: `there are ${MAX_KEYS} keys already`, hint: 'revoke some first' });
  }
  const record: NamedKey = {
    name,
    keyHash: hashToken(key),
    kind: 'named',
    grant: resolveGrant(grant ?? { level: 'collaborate' }, base, []),
    createdAt: base.now,
  };
  return [record, [{ put: KEYS.key + name, value: WRITE.key(record) }]];
};

/** Revokes a named key; one of the config stays revoked while it stands there. */
export const planKeyRevocation = (name: string, base: EditBase): Plan<NamedKey> => {
  const key = findKey(name, base.state);
  const { kind, keyHash } = key;
  const gone = { keyHash, blocksConfig: kind === 'config', revokedAt: base.now };
  return [
    key,
    [
      { delete: KEYS.key + name },
      { delete: KEYS.keyGrant + name },
      { put: KEYS.goneKey + keyHash, value: WRITE.goneKey(gone) },
    ],
  ];
};

/** Sets what a key may do; `agent` means the agents of this machine, which reach all peers unless narrowed. */
export const planKeyGrant = (name: string, input: GrantInput, base: EditBase): Plan<Grant> => {
  const key = name === 'agent' ? undefined : findKey(name, base.state);
  const grant = resolveGrant(input, base, key === undefined ? 'all' : []);
  if (key === undefined) return [grant, [{ put: KEYS.agentGrant, value: WRITE.grant(grant) }]];
  if (key.kind === 'config') return [grant, [{ put: KEYS.keyGrant + name, value: WRITE.grant(grant) }]];
  return [grant, [{ put: KEYS.key + name, value: WRITE.key({ ...key, grant }) }]];
};
