import type { Answer } from '../../helpers/ask.ts';

/** Asks as the owner. */
type Owner = (method: string, path: string, body?: object) => Promise<Answer>;

/** Provokes what the context answers. */
export const provokeContext = (owner: Owner) => ({
  context_not_found: () => owner('GET', '/context/nothing'),
  context_too_large: () => owner('PUT', '/context/large', { value: 'x'.repeat(1_048_577) }),
  context_conflict: () => owner('PUT', '/context/new', { value: 'x', ifRevision: 7 }),
  lease_held: async () => {
    await owner('POST', '/leases/held', { ttl: 60 });
    return owner('POST', '/leases/held', { ttl: 60 });
  },
  lease_lost: () => owner('PUT', '/leases/nothing', { ttl: 60, fence: 1 }),
});
