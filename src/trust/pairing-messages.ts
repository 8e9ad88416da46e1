import { LoopsyError } from '../protocol/errors.ts';
import { isRecord } from '../protocol/record.ts';

/** Reads one field that anyone may have sent; `undefined` where it is not what it must be. */
export type FieldReader<Value> = (value: unknown) => Value | undefined;

type Shape = Readonly<Record<string, FieldReader<unknown>>>;
/** What a shape's readers give. */
export type Fields<S extends Shape> = { readonly [Name in keyof S]: Exclude<ReturnType<S[Name]>, undefined> };

/** The most of a list that is looked at. */
const MAX_ITEMS = 64;

/** Bytes as base64url in its one form: exactly `size`, or at most `max`. */
export const bytes =
  ({ size, max = size ?? 0 }: { size?: number; max?: number }): FieldReader<Buffer> =>
  (value) => {
    if (typeof value !== 'string') return undefined;
    const read = Buffer.from(value, 'base64url');
    if (read.length > max || (size !== undefined && read.length !== size)) return undefined;
    return read.toString('base64url') === value ? read : undefined;
  };

/** A text of this form. */
export const text =
  (form: RegExp): FieldReader<string> =>
  (value) =>
    typeof value === 'string' && form.test(value) ? value : undefined;

/** A whole number from `min` to `max`. */
export const whole =
  (min: number, max: number): FieldReader<number> =>
  (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined;

/** A list of at most `max` items. */
export const list =
  <Item>(item: FieldReader<Item>, max = MAX_ITEMS): FieldReader<Item[]> =>
  (value) => {
    if (!Array.isArray(value) || value.length > max) return undefined;
    const items = value.map(item).filter((one) => one !== undefined);
    return items.length === value.length ? items : undefined;
  };

/** Exactly this value. */
export const exactly =
  <const Value>(wanted: Value): FieldReader<Value> =>
  (value) =>
    value === wanted ? wanted : undefined;

/** One of these texts. */
export const oneOf =
  <const Value extends string>(...wanted: readonly Value[]): FieldReader<Value> =>
  (value) =>
    wanted.find((one) => one === value);

/** What a reader takes, or null. */
export const orNull =
  <Value>(reader: FieldReader<Value>): FieldReader<Value | null> =>
  (value) =>
    value === null ? null : reader(value);

/** An object with exactly the fields of a shape. */
export const within =
  <S extends Shape>(shape: S): FieldReader<Fields<S>> =>
  (value) => {
    try {
      return readFields(value, shape);
    } catch (error) {
      if (error instanceof LoopsyError) return undefined;
      throw error;
    }
  };

/**
 * Reads an object with exactly the fields of a shape; `extra: true` lets others be.
 * @throws {LoopsyError} `invalid_request` with the field.
 */
export const readFields = <S extends Shape>(body: unknown, shape: S, { extra = false } = {}): Fields<S> => {
  if (!isRecord(body)) throw invalid('the body');
  const source = new Map<string, unknown>(Object.entries(body));
  const stranger = [...source.keys()].find((name) => !Object.hasOwn(shape, name));
  if (!extra && stranger !== undefined) throw invalid('an unknown field');
  const read = Object.entries(shape).map(([name, reader]) => {
    const value = reader(source.get(name));
    if (value === undefined) throw invalid(name);
    return [name, value] as const;
  });
  // The cast: each field was read by the reader of its name.
  return Object.fromEntries(read) as Fields<S>;
};

const invalid = (field: string): LoopsyError =>
  new LoopsyError('invalid_request', { message: `${field} is not as a pairing needs it`, details: { field } });

/** The other side does what no honest one does. `reason` is for programs, `message` for the person. */
export const suspect = (reason: string, message: string): LoopsyError =>
  new LoopsyError('invalid_request', { message, details: { reason } });

/** The end of what the person here has given up. */
export const cancelledHere = (): LoopsyError =>
  new LoopsyError('pair_not_open', {
    message: 'the pairing was cancelled: nothing was trusted',
    hint: '`loopsy pair` begins anew',
  });

/** The same for this side's person: no fault of their input. */
export const blameOther = (error: unknown): LoopsyError => {
  if (!(error instanceof LoopsyError)) return new LoopsyError('internal', { cause: error });
  if (error.error !== 'invalid_request' || error.details?.['reason'] === 'self') return error;
  return new LoopsyError('peer_handshake', {
    message: error.message,
    hint: 'nothing was trusted; run `loopsy pair` again, and if this comes again, someone may be between the two machines',
    ...(error.details === undefined ? {} : { details: error.details }),
  });
};

const ATTEMPT = bytes({ size: 16 });
const POINT = bytes({ size: 65 });
const HASH = bytes({ size: 32 });
/** What fits into a body of 8 KiB beside the rest. */
const BOX = bytes({ max: 6144 });
const TOKENS = list(HASH, 3);

/** The version of the protocol. */
const PAIRING_VERSION = 1;

/** What each message holds (M1–M8), in the order in which its fields are written. */
export const MESSAGES = {
  initiate: { v: exactly(PAIRING_VERSION), pake: POINT },
  initiated: { v: exactly(PAIRING_VERSION), attempt: ATTEMPT, pake: POINT },
  prove: { attempt: ATTEMPT, confirm: HASH, box: BOX },
  proved: { confirm: HASH, box: BOX },
  reveal: { attempt: ATTEMPT, box: BOX },
  revealed: { ok: exactly(true) },
  settle: { attempt: ATTEMPT, tokens: TOKENS },
  settled: { tokens: TOKENS },
} as const;

/** A message's fields before they are written. */
export type Message = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** @throws {LoopsyError} `peer_version` where a message is of another version. */
export const checkVersion = (body: unknown): void => {
  const v = isRecord(body) ? body['v'] : undefined;
  if (v === PAIRING_VERSION) return;
  throw new LoopsyError('peer_version', {
    message: `the other side speaks ${typeof v === 'number' ? `version ${v}` : 'another version'} of pairing, this one ${PAIRING_VERSION}`,
  });
};

/** Bytes as they are written into a message. */
export const write = (value: Uint8Array): string => Buffer.from(value).toString('base64url');
