import type { Timer } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { CarriedMessage } from '../../protocol/messages.ts';
import type { Entry } from '../../store/store.ts';

/** After the first failure. */
export const FIRST_PAUSE_MS = 250;

/** One node that something waits for. */
export interface Route {
  /** What it was called here when it was last known. */
  name: string;
  running: boolean;
  /** Something has come since the last look. */
  again: boolean;
  pauseMs: number;
  timer: Timer | undefined;
  /** All up to here has an answer; what waits begins behind it. */
  answered: string | undefined;
  /** All up to here is settled on disk. */
  settled: string | undefined;
  /** What has no answer yet, or one that is not on disk. */
  readonly underWay: Set<string>;
  /** Answers on their way to the disk: the next batch does not wait for them. */
  readonly settling: Set<Promise<void>>;
  /** Why one of them did not get there. */
  failed: Error | undefined;
  /** The node did not understand something: all goes one by one now, so that this is the only thing it refuses. */
  isAlone: boolean;
}

/** A route on which nothing has been tried. */
export const newRoute = (nodeId: string): Route => ({
  name: nodeId,
  running: false,
  again: false,
  pauseMs: FIRST_PAUSE_MS,
  timer: undefined,
  answered: undefined,
  settled: undefined,
  underWay: new Set(),
  settling: new Set(),
  failed: undefined,
  isAlone: false,
});

/** Something that is handed over, and what is done where the node will never understand it. */
interface Handing {
  readonly run: () => Promise<void>;
  readonly giveUp: (why: LoopsyError) => Promise<void>;
}

/** Hands something over. What the node does not understand goes in parts: one thing of another make is all that is given up. */
export const understood = async (route: Route, entries: readonly Entry[], { run, giveUp }: Handing): Promise<void> => {
  if (entries.length === 0) return;
  try {
    await run();
  } catch (thrown) {
    if (!(thrown instanceof LoopsyError) || thrown.error !== 'invalid_request') throw thrown;
    route.isAlone = entries.length > 1;
    if (!route.isAlone) await giveUp(thrown);
  }
};

/** Messages that nothing is awaited for any more. */
export const forget = ({ underWay }: Route, messages: readonly CarriedMessage[]): void => {
  for (const { id } of messages) underWay.delete(id);
};

/** Waits until what has an answer is on disk. @throws why it is not: it is asked for again then. */
export const settled = async (route: Route): Promise<void> => {
  await Promise.all(route.settling);
  const { failed } = route;
  route.failed = undefined;
  if (failed === undefined) return;
  route.answered = undefined;
  throw failed;
};
