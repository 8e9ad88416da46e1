import type { Client } from '../client/client.ts';
import { itemsOf, pagesOf } from '../client/pages.ts';
import type { Grant } from '../protocol/grants.ts';
import { describeGrant } from '../protocol/scopes.ts';
import type { LocalNode } from './connect.ts';
import { localTime } from './output.ts';

/** A nodeId as people read it: its local name, or its first characters. */
type NameOf = (nodeId: string) => string;

const SHOWN_ID = 8;
const PEER = 'peer:';

/** The local names of peers, asked for where there is an id to name. */
const peerNames = async (client: Client, ids: readonly string[]): Promise<NameOf> => {
  const rows = ids.length === 0 ? [] : await itemsOf(pagesOf(client, 'peer.list', { input: {} }), (page) => page.peers);
  const names = new Map(rows.map(({ nodeId, name }) => [nodeId, name]));
  return (nodeId) => names.get(nodeId) ?? nodeId.slice(0, SHOWN_ID);
};

/** How people read who asked for something: `owner`, `key:ci`, or a peer by its local name. */
export const callerWords = async (
  { client, health }: Pick<LocalNode, 'client' | 'health'>,
  callers: readonly string[],
): Promise<(caller: string) => string> => {
  const ids = callers.filter((caller) => caller.startsWith(PEER)).map((caller) => caller.slice(PEER.length));
  const nameOf = await peerNames(
    client,
    ids.filter((id) => id !== health.nodeId),
  );
  return (caller) => {
    if (!caller.startsWith(PEER)) return caller;
    const id = caller.slice(PEER.length);
    return id === health.nodeId ? 'this machine' : nameOf(id);
  };
};

/** What grants allow, in a few words: `may look (observe), until 2026-12-20 09:00, reaches kai`. */
export const grantWords = async (client: Client, grants: readonly Grant[]): Promise<(grant: Grant) => string> => {
  const nameOf = await peerNames(
    client,
    grants.flatMap(({ reach }) => (reach === 'all' ? [] : reach)),
  );
  return (grant) => {
    const reach = grant.reach === 'all' ? grant.reach : grant.reach.map(nameOf);
    return describeGrant({ ...grant, reach }, localTime);
  };
};
