import type { X509Certificate } from 'node:crypto';

import type { Caller } from '../trust/caller.ts';
import { inspectLeaf, type Leaf } from '../trust/leaf.ts';
import type { TrustBook } from '../trust/pins.ts';
import type { CallerSources, Refusal } from './edge/caller.ts';
import type { Keys } from './keys/service.ts';

const REFUSALS = { unknown: 'invalid_key', expired: 'expired_key', revoked: 'revoked' } as const;

const leaves = new WeakMap<X509Certificate, Leaf>();

/** What a certificate says, read once for each connection: reading it costs more than a request. */
const leafOf = (shown: X509Certificate): Leaf | undefined => {
  const leaf = leaves.get(shown) ?? inspectLeaf(shown);
  if (leaf !== undefined) leaves.set(shown, leaf);
  return leaf;
};

/** The peer that a certificate belongs to, with its grant as it is now. */
const peerCaller = (trust: TrustBook, leaf: Leaf): Caller | Refusal => {
  const found = trust.identify(leaf);
  if ('refused' in found) return REFUSALS[found.refused];
  const machine = trust.machine(found.machineId);
  return machine === undefined ? 'invalid_key' : { kind: 'peer', ...found, grant: machine.grant };
};

/** Who a certificate or a token makes, as trust and the keys are at this moment. */
export const callerSources = ({
  trust,
  keys,
  plainAllowed,
}: { trust: TrustBook; keys: Keys } & Pick<CallerSources, 'plainAllowed'>): CallerSources => ({
  certificate: (shown) => {
    const leaf = leafOf(shown);
    return leaf === undefined ? 'invalid_key' : peerCaller(trust, leaf);
  },
  token: (token, loopback) => keys.caller(token, loopback),
  plainAllowed,
});
