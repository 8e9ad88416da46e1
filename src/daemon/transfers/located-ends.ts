import { LoopsyError } from '../../protocol/errors.ts';
import type { TransferEnd } from '../../protocol/transfers.ts';
import type { Ends, SourceEnd, TargetEnd } from './ends.ts';

/** What the machine itself has said; not what became of the way to it, which names it. */
const isOfEnd = ({ error, code }: LoopsyError): boolean =>
  error === 'rate_limited' || code < 2000 || (code >= 4000 && code < 5000);

const locate = (thrown: unknown, at: TransferEnd): unknown => {
  if (!(thrown instanceof LoopsyError) || !isOfEnd(thrown) || thrown.details?.['at'] !== undefined) return thrown;
  const { error, message, hint, details } = thrown;
  return new LoopsyError(error, {
    message,
    ...(hint === undefined ? {} : { hint }),
    details: { ...details, at },
    cause: thrown,
  });
};

const said = <Answer>(at: TransferEnd, answer: Promise<Answer>): Promise<Answer> =>
  answer.catch((thrown: unknown) => {
    throw locate(thrown, at);
  });

async function* readAt(at: TransferEnd, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (thrown) {
    throw locate(thrown, at);
  }
}

const locatedSource = (end: SourceEnd): SourceEnd => ({
  ...end,
  open: (open) => said('source', end.open(open)),
  read: async (want) => readAt('source', await said('source', end.read(want))),
});

const locatedTarget = (end: TargetEnd): TargetEnd => ({
  ...end,
  open: (open) => said('target', end.open(open)),
  write: (...step) => said('target', end.write(...step)),
  put: (...stretch) => said('target', end.put(...stretch)),
});

/** The same two ends, whose errors say which of them they are of. */
export const locatedEnds = (ends: Ends): Ends => ({
  source: (signal) => locatedSource(ends.source(signal)),
  target: (signal) => locatedTarget(ends.target(signal)),
});
