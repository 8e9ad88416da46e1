import type { LoopsyError } from '../../protocol/errors.ts';
import { FRAME, isOutput } from '../../protocol/frames.ts';
import type { StreamPiece } from './call.ts';
import { Utf8Pieces, type Stretch } from './utf8-pieces.ts';

/** One event in its JSON form, and the cursor behind it: who resumes there misses nothing and sees nothing twice. */
export interface StreamEvent {
  readonly cursor: number;
  readonly event: unknown;
}

const NAMES = new Map<number, string>(Object.entries(FRAME).map(([name, type]) => [type, name]));

const parseJson = (bytes: Uint8Array): unknown =>
  JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());

const encodeText = ({ bytes, isText }: Stretch): { data: string; encoding?: 'base64' } => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return isText ? { data: buffer.toString() } : { data: buffer.toString('base64'), encoding: 'base64' };
};

/** Turns the pieces of a stream into events: those of a run as `jobEventSchema` says, others as they are. */
export class EventEncoder {
  readonly #jobId: string;
  readonly #now: () => number;
  readonly #text = new Utf8Pieces();
  /** The type of output whose last character waits for its end. */
  #heldType = 0;
  #cursor: number;

  /** `jobId` is empty for a stream that is not a run's. */
  constructor(jobId: string, since: number, now: () => number) {
    this.#jobId = jobId;
    this.#cursor = since;
    this.#now = now;
  }

  /** The cursor behind all events so far. */
  get cursor(): number {
    return this.#cursor;
  }

  /** True for a piece that is an event as it is: the cursor stands behind it then. */
  passes({ cursor }: StreamPiece): boolean {
    if (this.#jobId !== '') return false;
    this.#cursor = cursor;
    return true;
  }

  /** The events that a piece completes. */
  encode(piece: StreamPiece): StreamEvent[] {
    if (this.#jobId === '') return [this.#event(piece.cursor, parseJson(piece.bytes))];
    if (isOutput(piece.type)) return this.#encodeOutput(piece);
    const data = parseJson(piece.bytes);
    return [...this.flush(), this.#event(piece.cursor, this.#inJob({ type: NAMES.get(piece.type) ?? 'event', data }))];
  }

  /** What is held of a character, because no more of it will come in this order. */
  flush(): StreamEvent[] {
    return this.#outputEvents(this.#heldType, this.#text.flush());
  }

  /** The last event of a stream that failed. */
  encodeError(error: LoopsyError): StreamEvent[] {
    const data = error.toBody();
    const event = this.#jobId === '' ? data : this.#inJob({ type: 'error', data });
    return [...this.flush(), this.#event(this.#cursor, event)];
  }

  #encodeOutput({ type, bytes }: StreamPiece): StreamEvent[] {
    // Bytes of the other output can't pass held ones: no cursor could name what was seen then.
    const before = type === this.#heldType ? [] : this.flush();
    this.#heldType = type;
    return [...before, ...this.#outputEvents(type, this.#text.push(bytes))];
  }

  #outputEvents(type: number, stretches: readonly Stretch[]): StreamEvent[] {
    return stretches.map((stretch) => {
      const event = this.#inJob({ type: NAMES.get(type) ?? 'stdout', ...encodeText(stretch) });
      return this.#event(this.#cursor + stretch.bytes.length, event);
    });
  }

  #event(cursor: number, event: unknown): StreamEvent {
    this.#cursor = cursor;
    return { cursor, event };
  }

  #inJob(facts: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    return { ...facts, jobId: this.#jobId, timestamp: this.#now() };
  }
}
