import type {
  Place,
  SourceOpen,
  SourceOpened,
  SourceWant,
  TargetOpen,
  TargetOpened,
  TargetStep,
} from '../../protocol/transfers.ts';
import type { Span } from './disk/incoming.ts';
import type { Body } from './pour.ts';

/** How an end is left. */
export interface Leaving {
  readonly outcome: 'done' | 'failed' | 'cancelled';
  readonly files: number;
  readonly bytes: number;
  readonly failed: number;
}

/** Where files come from: this node's disk, or a peer's. */
export interface SourceEnd {
  readonly place: Place;
  /** Of a large file so many bytes are asked for at once. */
  readonly partBytes: number;
  open(open: SourceOpen): Promise<SourceOpened>;
  /** Bytes, each chunk good until the next is asked for. */
  read(want: SourceWant): Promise<AsyncIterable<Uint8Array>>;
  close(leaving: Leaving): Promise<void>;
}

/** What a step of a target is about. */
interface StepOptions {
  readonly file?: number;
  /** Bytes of the body, where they are known. */
  readonly length?: number;
}

/** Where files go. */
export interface TargetEnd {
  readonly place: Place;
  open(open: TargetOpen): Promise<TargetOpened>;
  /** One step; the answer is what the disk says. */
  write(step: TargetStep, body: Body, options?: StepOptions): Promise<unknown>;
  /** Takes a stretch of a large file, and resolves when it is written. `onTaken` is told before which byte all has come. */
  put(span: Span, bytes: AsyncIterable<Uint8Array>, onTaken: (at: number) => void): Promise<void>;
  close(leaving: Leaving): Promise<void>;
}

/** Makes the two ends of a movement; a signal ends whatever they are asked for. */
export interface Ends {
  source(signal: AbortSignal): SourceEnd;
  target(signal: AbortSignal): TargetEnd;
}
