import { randomHex } from '../../kernel/ids.ts';
import { errorFromBody, LoopsyError } from '../../protocol/errors.ts';
import { rowOf, type OperationId } from '../../protocol/operations.ts';
import type { Place, SourceOpened, TargetOpened, TargetPut } from '../../protocol/transfers.ts';
import type { Caller } from '../../trust/caller.ts';
import type { ByteAnswer } from '../edge/call.ts';
import type { EffectAnswer } from '../edge/effects.ts';
import type { ForwardRequest } from '../edge/parts.ts';
import { Unacknowledged } from './acknowledge.ts';
import type { SourceEnd, TargetEnd } from './ends.ts';
import { CHUNK_BYTES } from './format.ts';
import type { OpenEnds } from './open-ends.ts';

/** The way to other nodes. */
export interface Forwarding {
  json(request: ForwardRequest): Promise<EffectAnswer>;
  bytes(request: ForwardRequest): Promise<ByteAnswer | EffectAnswer>;
}

/** For whom ends are made, and what ends them. */
export interface EndContext {
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

const FORGOTTEN = (): LoopsyError => new LoopsyError('transfer_not_found');

/** Files of this node, for its own mover. */
export const localSource = (ends: OpenEnds, place: Place, { caller }: EndContext): SourceEnd => {
  let endId: string | undefined;
  return {
    place,
    partBytes: Number.POSITIVE_INFINITY,
    open: async (open) => {
      const opened = await ends.openSource(open, caller);
      endId = opened.endId;
      return opened;
    },
    read: async (want) => {
      if (endId === undefined) throw FORGOTTEN();
      return ends.read(endId, want, caller);
    },
    close: async (leaving) => {
      if (endId !== undefined && ends.knows(endId)) await ends.close({ endId, ...leaving }, caller);
    },
  };
};

/** The same for what is written here. */
export const localTarget = (ends: OpenEnds, place: Place, { caller }: EndContext): TargetEnd => {
  let endId: string | undefined;
  return {
    place,
    open: async (open) => {
      const opened = await ends.openTarget(open, caller);
      endId = opened.endId;
      return opened;
    },
    write: async (step, body, options = {}) => {
      if (endId === undefined) throw FORGOTTEN();
      return ends.write(endId, caller, { step, body, ...options });
    },
    put: async (span, bytes, onTaken) => {
      if (endId === undefined) throw FORGOTTEN();
      let { at } = span;
      const onBytes = (taken: number): void => onTaken((at += taken));
      await ends.write(endId, caller, { step: 'put', ...span, body: bytes, onBytes });
    },
    close: async (leaving) => {
      if (endId !== undefined && ends.knows(endId)) await ends.close({ endId, ...leaving }, caller);
    },
  };
};

/** What is asked of a peer. */
interface Asking {
  readonly input: Record<string, unknown>;
  readonly body?: AsyncIterable<Uint8Array> | string;
  readonly length?: number;
}

/** Asks one peer, in the name of one caller. */
class PeerEnd {
  readonly place: Place;
  readonly #forward: Forwarding;
  readonly #context: EndContext;

  constructor(forward: Forwarding, place: Place, context: EndContext) {
    this.#forward = forward;
    this.place = place;
    this.#context = context;
  }

  async json(id: OperationId, asking: Asking): Promise<unknown> {
    // Why a body broke off is known here alone: to the link any such end is a cut.
    let broken: unknown;
    const body = bodyOf(asking, (thrown) => (broken = thrown));
    const answer = await this.#forward.json(this.#request(id, { ...asking, ...body })).catch((thrown: unknown) => {
      throw broken ?? thrown;
    });
    if (answer.error !== undefined) throw answer.error;
    const output: unknown = JSON.parse(answer.body);
    if (answer.status < 400) return output;
    throw errorFromBody(output) ?? new LoopsyError('internal');
  }

  async bytes(id: OperationId, asking: Asking): Promise<AsyncIterable<Uint8Array>> {
    const answer = await this.#forward.bytes(this.#request(id, asking));
    if ('chunks' in answer) return this.#untilCut(answer.chunks);
    throw answer.error ?? errorFromBody(JSON.parse(answer.body)) ?? new LoopsyError('internal');
  }

  /** Hands in bytes while the peer says how many have come. */
  async put(input: TargetPut, bytes: AsyncIterable<Uint8Array>, onTaken: (at: number) => void): Promise<void> {
    const unacknowledged = new Unacknowledged(input.at);
    let broken: unknown;
    const asking = { body: unacknowledged.flow(bytes), length: input.to - input.at };
    const body = bodyOf({ input: {}, ...asking }, (thrown) => (broken = thrown));
    try {
      await unacknowledged.read(await this.bytes('target.put', { input, ...asking, ...body }), onTaken);
    } catch (thrown) {
      throw broken ?? thrown;
    } finally {
      unacknowledged.stop();
    }
  }

  async *#untilCut(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (thrown) {
      if (thrown instanceof LoopsyError) throw thrown;
      throw new LoopsyError('peer_unreachable', {
        message: `the connection to ${this.place.name} was cut`,
        cause: thrown,
      });
    }
  }

  /** The same when its mover has left: what is open there is to be closed all the same. */
  get unsignalled(): PeerEnd {
    return new PeerEnd(this.#forward, this.place, { ...this.#context, signal: AbortSignal.timeout(CLOSE_MS) });
  }

  #request(id: OperationId, { input, body, length }: Asking): ForwardRequest {
    const { caller, signal } = this.#context;
    const requestId = randomHex(16);
    const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
    return {
      target: this.place,
      id,
      op: rowOf(id),
      input: given,
      call: { operation: id, caller, requestId, digest: '', resumable: false, signal, announce: ignore, note: ignore },
      ...(body === undefined || typeof body === 'string' ? {} : { body }),
      ...(length === undefined ? {} : { bodyLength: length }),
    };
  }
}

const CLOSE_MS = 5000;

const ignore = (): void => undefined;

/** The body as bytes; `onBroken` is told what it throws. */
const bodyOf = ({ body }: Asking, onBroken: (thrown: unknown) => void): Pick<Asking, 'body'> => {
  if (body === undefined) return {};
  async function* bytes(): AsyncGenerator<Uint8Array> {
    if (typeof body === 'string') yield Buffer.from(body);
    if (typeof body !== 'object') return;
    try {
      yield* body;
    } catch (thrown) {
      onBroken(thrown);
      throw thrown;
    }
  }
  return { body: bytes() };
};

/** Files of a peer. */
export const peerSource = (forward: Forwarding, place: Place, context: EndContext): SourceEnd => {
  const peer = new PeerEnd(forward, place, context);
  let endId: string | undefined;
  return {
    place,
    partBytes: CHUNK_BYTES,
    open: async (open) => {
      const opened = (await peer.json('source.open', { input: { ...open } })) as SourceOpened;
      endId = opened.endId;
      return opened;
    },
    read: (want) => peer.bytes('source.read', { input: { endId, want } }),
    close: async (leaving) => {
      if (endId !== undefined) await peer.unsignalled.json('end.close', { input: { endId, ...leaving } });
    },
  };
};

/** What is written at a peer. */
export const peerTarget = (forward: Forwarding, place: Place, context: EndContext): TargetEnd => {
  const peer = new PeerEnd(forward, place, context);
  let endId: string | undefined;
  return {
    place,
    open: async (open) => {
      const opened = (await peer.json('target.open', { input: { ...open } })) as TargetOpened;
      endId = opened.endId;
      return opened;
    },
    write: (step, body, { file, length } = {}) => {
      const known = typeof body === 'string' ? Buffer.byteLength(body) : length;
      return peer.json('target.write', {
        input: { endId, step, file },
        body,
        ...(known === undefined ? {} : { length: known }),
      });
    },
    put: async (span, bytes, onTaken) => {
      if (endId === undefined) throw FORGOTTEN();
      await peer.put({ endId, ...span }, bytes, onTaken);
    },
    close: async (leaving) => {
      if (endId !== undefined) await peer.unsignalled.json('end.close', { input: { endId, ...leaving } });
    },
  };
};
