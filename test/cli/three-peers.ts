import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import { FakeNode, OUTCOME, PEER, STARTED, type Answering } from './fake-node.ts';

const NAMES = ['kai', 'maria', 'bo'];
/** The id that a peer of that name has. */
export const idOf = (name: string): string => name.padEnd(32, '2');
/** Its row in the list of peers. */
export const rowOf = (name: string) => ({ ...PEER, name, nodeId: idOf(name) });

/** A node with three peers; what a run does there is said by name. */
export const nodeWith = (runs: Record<string, (answering: Answering) => void>): Promise<FakeNode> =>
  FakeNode.start({
    'peer.list': () => ({ peers: [...NAMES.map(rowOf), { ...rowOf('added'), trusted: false }] }),
    'peer.show': ({ input }) => {
      const name = NAMES.find((one) => one === input['nodeId'] || idOf(one) === input['nodeId']);
      if (name === undefined)
        throw new LoopsyError('peer_not_found', { message: `no peer is called "${String(input['nodeId'])}"` });
      return rowOf(name);
    },
    'system.identity': ({ peer }) => {
      if (peer !== 'myself') throw new LoopsyError('peer_not_found', { message: `no peer is called "${peer ?? ''}"` });
      return {
        nodeId: PEER.nodeId,
        hostname: 'myself',
        platform: 'linux',
        version: '2.0.0',
        port: 1,
        capabilities: [],
      };
    },
    'job.stream': (answering) => runs[NAMES.find((name) => idOf(name) === answering.peer) ?? 'here']?.(answering),
  });

/** Writes and ends. */
export const says =
  (text: string, more: object = {}) =>
  ({ frames }: Answering): void => {
    const { send, end } = frames();
    send(FRAME.started, STARTED);
    for (const piece of text.split('§')) send(FRAME.stdout, Buffer.from(piece));
    send(FRAME.exit, { ...OUTCOME, ...more });
    end();
  };
/** Begins, and hangs. */
export const hangs = ({ frames }: Answering): void => frames().send(FRAME.started, STARTED);

/** The lines of a text that are not empty. */
export const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');
