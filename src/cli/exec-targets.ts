import type { Client } from '../client/client.ts';
import { pagesOf } from '../client/pages.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';
import { asError, count } from './output.ts';
import { usageError } from './parse.ts';
import { peerNamed } from './values.ts';

/** A machine that the command is for. */
export interface Target {
  readonly name: string;
  /** As operations take it. */
  readonly peer: string | undefined;
  /** Why nothing is tried there: it is not online. */
  readonly absent?: string;
}

/** `--all`: every trusted peer, those that are not online as absent. By name: each once; one that is unknown stops it all. */
export const findTargets = async ({ invocation }: Cli, node: LocalNode): Promise<Target[]> => {
  const [words = ''] = invocation.args;
  if (!invocation.has('all')) return namedTargets(words, node);
  if (words !== '') throw usageError('--all means every peer: name none beside it', '`loopsy exec --help` shows how');
  const targets: Target[] = [];
  for await (const { peers } of pagesOf(node.client, 'peer.list', { input: {} })) {
    for (const { name, nodeId, trusted, status, reason } of peers) {
      if (!trusted) continue;
      const absent = status === 'online' ? {} : { absent: reason ?? status };
      targets.push({ name, peer: nodeId ?? name, ...absent });
    }
  }
  if (targets.some(({ absent }) => absent === undefined)) return targets;
  throw new LoopsyError('peer_offline', {
    message:
      targets.length === 0 ? 'no peer is trusted here yet' : `none of ${count(targets.length, 'peer')} is online`,
    hint: '`loopsy peers` shows them',
  });
};

const namedTargets = async (words: string, { client }: LocalNode): Promise<Target[]> => {
  const names = words.split(',').flatMap((name) => name.trim() || []);
  const found = await Promise.all(names.map((name) => namedTarget(name, client)));
  if (found.length === 0) throw usageError('no peer is named', '`loopsy exec kai,maria <command>` runs it on both');
  return [...new Map(found).values()];
};

/** What a name stands for, and what tells it from others: two names may be one machine's. */
const namedTarget = async (name: string, client: Client): Promise<readonly [key: string, target: Target]> => {
  const peer = peerNamed(name);
  if (peer === undefined) return ['', { name, peer }];
  try {
    const row = await client.call('peer.show', { nodeId: peer });
    return [row.nodeId ?? row.name, { name: row.name, peer: row.nodeId ?? peer }];
  } catch (thrown) {
    if (asError(thrown).error !== 'peer_not_found') throw thrown;
    // This machine's own names are no peer's, and mean it all the same: any other one fails here.
    await client.call('system.identity', {}, { peer });
    return ['', { name, peer: undefined }];
  }
};
