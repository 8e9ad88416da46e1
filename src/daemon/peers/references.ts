import { parseAddress } from '../../protocol/names.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import { ambiguousPeer, peerNotFound, PREFIX_LENGTH } from '../../trust/trust-edits.ts';
import type { Address } from './dial.ts';
import type { Known } from './rows.ts';

/** Says of an address whether `reference` is that address; without a port it means 19532. */
export const isAt = (reference: string): ((address: Address) => boolean) => {
  const wanted = parseAddress(reference.toLowerCase());
  if (wanted === undefined) return () => false;
  const { host, port = DEFAULT_PORT } = wanted;
  return (address) => address.host.toLowerCase() === host && address.port === port;
};

/**
 * The row that a person means: by name, by ≥ 4 characters of its id, or by an address; in this order.
 * @throws {LoopsyError} `peer_not_found` with the known ones; `invalid_request` with the matches of what is ambiguous.
 */
export const pickKnown = (reference: string, all: readonly Known[]): Known => {
  const wanted = reference.toLowerCase();
  const isThere = isAt(reference);
  const ways: ((known: Known) => boolean)[] = [
    ({ row }) => row.name.toLowerCase() === wanted,
    ({ row }) => wanted.length >= PREFIX_LENGTH && row.nodeId?.startsWith(wanted) === true,
    ({ addresses }) => addresses.some(isThere),
  ];
  for (const fits of ways) {
    const [found, ...others] = all.filter(fits);
    if (found === undefined) continue;
    if (others.length === 0) return found;
    throw ambiguousPeer(
      reference,
      [found, ...others].map(({ row }) => row),
    );
  }
  throw peerNotFound(
    reference,
    all.map(({ row }) => row.name),
  );
};
