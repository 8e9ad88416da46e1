import { parseAddress, THIS_MACHINE } from '../protocol/names.ts';
import { usageError } from './parse.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** A span of time as it is typed (`30s`, `5m`, `12h`, `30d`; `bare` is the unit of a number alone), in ms. */
export const parseSpan = (text: string, option: string, bare?: 'ms'): number => {
  const [, number, unit = bare] = /^(\d+(?:\.\d+)?)\s*([a-z]+)?$/i.exec(text.trim()) ?? [];
  const unitMs = UNIT_MS[unit?.toLowerCase() ?? ''];
  const ms = Math.round(Number(number) * (unitMs ?? Number.NaN));
  if (Number.isSafeInteger(ms)) return ms;
  throw usageError(
    `"${text}" is no time for --${option}`,
    `use a number and a unit, e.g. ${bare === undefined ? '12h or 30d' : '30s or 5m'}`,
  );
};

/** A moment as it is typed: a span before now, or a date. In ms since 1970. */
export const parseSince = (text: string, now: number): number => {
  if (/^\d+(\.\d+)?\s*[a-z]+$/i.test(text.trim())) return Math.max(0, now - parseSpan(text, 'since'));
  const date = Date.parse(text);
  if (/^\d{4}-/.test(text) && !Number.isNaN(date)) return Math.max(0, date);
  throw usageError(`"${text}" is no time for --since`, 'use e.g. 2h, 3d or 2026-11-20T09:00');
};

/** An address as operations take it. */
export interface Address {
  readonly address: string;
  readonly port?: number;
}

/** An address as it is typed, and its port where that stands apart. */
export const typedAddress = (text: string, portText?: string): Address => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw usageError(`"${text}" is no address`, 'use host, host:port or [v6]:port');
  const { host: address, port: ownPort } = parsed;
  if (portText !== undefined && ownPort !== undefined)
    throw usageError(`two ports are given: ${ownPort} and ${portText}`);
  const port = portText === undefined ? ownPort : parsePort(portText);
  return port === undefined ? { address } : { address, port };
};

const parsePort = (text: string): number => {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw usageError(`"${text}" is no port`, 'a port is a number from 1 to 65535');
};

const UNIT_BYTES: Readonly<Record<string, number | undefined>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 1024,
  mi: 1_048_576,
  gi: 1_073_741_824,
};

/** A number of bytes as it is typed: `20M`, `1.5Gi`, `500k`. */
export const parseBytes = (text: string, option: string): number => {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]i?)?(?:B?\/s|B)?$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * (UNIT_BYTES[unit.toLowerCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw usageError(`"${text}" is no number of bytes for --${option}`, 'use e.g. 500k, 20M or 1Gi');
};

/** A whole number as it is typed. */
export const parseNumber = (text: string, option: string): number => {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw usageError(`"${text}" is no number for --${option}`, 'use a whole number');
};

/** `K=V` pairs. */
export const parseEnv = (pairs: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
      throw usageError(`--env ${pair} sets nothing`, 'use --env NAME=value');
    }),
  );

/** How a person names the machine that shall do it; undefined for this one. */
export const peerNamed = (text: string | undefined): string | undefined =>
  text?.toLowerCase() === THIS_MACHINE ? undefined : text;
