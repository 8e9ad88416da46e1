import { isUtf8 } from 'node:buffer';

/** A stretch of output that travels as text, or, where it is not UTF-8, as base64. */
export interface Stretch {
  readonly bytes: Uint8Array;
  readonly isText: boolean;
}

/** How many bytes a UTF-8 character has that begins with this byte; 0 where none does. */
const characterLength = (first: number): number => {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  return first >= 0xf0 && first < 0xf5 ? 4 : 0;
};

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** How many bytes at the end are a character that is not complete: 0–3. */
const unfinishedBytes = (bytes: Uint8Array): number => {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (isContinuation(byte)) continue;
    return characterLength(byte) > back ? back : 0;
  }
  return 0;
};

/**
 * Cuts a stream of bytes so that no character is split: the beginning of one at the end of a piece is held until the
 * next piece. All bytes come out, once and in order.
 */
export class Utf8Pieces {
  #held: Uint8Array = new Uint8Array(0);

  /** How many bytes are held: 0–3. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** The stretches that `bytes` completes. They share memory with it. */
  push(bytes: Uint8Array): Stretch[] {
    const whole = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const keep = unfinishedBytes(whole);
    const ready = whole.subarray(0, whole.length - keep);
    // Copied: at most three bytes, which would keep a whole chunk alive.
    this.#held = whole.slice(whole.length - keep);
    return ready.length === 0 ? [] : stretchesOf(ready);
  }

  /** What is held, because nothing follows that could complete it. */
  flush(): Stretch[] {
    const bytes = this.#held;
    this.#held = new Uint8Array(0);
    return bytes.length === 0 ? [] : [{ bytes, isText: false }];
  }
}

/** The rest of a character whose beginning went before it is kept apart, so that the text behind it stays text. */
const stretchesOf = (bytes: Uint8Array): Stretch[] => {
  if (isUtf8(bytes)) return [{ bytes, isText: true }];
  let orphans = 0;
  while (orphans < 3 && isContinuation(bytes[orphans])) orphans += 1;
  const rest = bytes.subarray(orphans);
  if (orphans === 0 || rest.length === 0 || !isUtf8(rest)) return [{ bytes, isText: false }];
  return [
    { bytes: bytes.subarray(0, orphans), isText: false },
    { bytes: rest, isText: true },
  ];
};
