import { LoopsyError } from '../protocol/errors.ts';
import { type IdOf, type InputOf, type OutputOf, rowOf } from '../protocol/operations.ts';
import type { TrustBook } from '../trust/pins.ts';
import { type Carrier, Undelivered } from './messages/courier.ts';
import { askNode, readAnswer } from './peers/exchange.ts';
import { LinkCut } from './peers/link.ts';
import { errorOfPeer } from './peers/peer-errors.ts';
import type { Peers } from './peers/service.ts';

/** A batch is small; a disk may take its time. */
const LIMIT_MS = 20_000;
const MAX_ANSWER_BYTES = 1_048_576;

/** How messages reach peers: over their links, asked once; who asks again is the courier. */
export const carrierOf = ({ peers, trust }: { peers: () => Peers; trust: TrustBook }): Carrier => {
  const ask = async <Id extends IdOf<'json'>>(nodeId: string, id: Id, input: InputOf<Id>): Promise<OutputOf<Id>> => {
    const { link, name } = peers().way(nodeId);
    const { status, body } = await answered(async () => {
      const answer = await askNode(link, id, { input, limitMs: LIMIT_MS });
      return { status: answer.statusCode, body: await readAnswer(answer, MAX_ANSWER_BYTES) };
    });
    if (status !== 200) throw errorOfPeer(body, name);
    // It decides what is said to be delivered: whatever it is, it is what the table says. The row types its output.
    return rowOf(id).output.parse(JSON.parse(body)) as OutputOf<Id>;
  };
  return {
    isOnline: (nodeId) => (trust.machine(nodeId) === undefined ? undefined : peers().answers(nodeId)),
    nameOf: (nodeId) => trust.machine(nodeId)?.name ?? nodeId,
    deliver: (nodeId, batch) => ask(nodeId, 'message.deliver', batch),
    receipts: (nodeId, receipts) => ask(nodeId, 'message.receipts', receipts),
  };
};

/** @throws {Undelivered} where there was no answer. */
const answered = async <Answer>(run: () => Promise<Answer>): Promise<Answer> => {
  try {
    return await run();
  } catch (thrown) {
    if (thrown instanceof LinkCut) throw new Undelivered(thrown, thrown.sent);
    if (thrown instanceof LoopsyError && UNREACHED.has(thrown.error)) throw new Undelivered(thrown, false);
    throw thrown;
  }
};

const UNREACHED: ReadonlySet<string> = new Set(['peer_unreachable', 'peer_offline', 'too_many_streams']);
