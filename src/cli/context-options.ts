import type { CallOptions } from '../client/client.ts';
import type { Cli } from './cli.ts';
import { plain } from './output.ts';
import { usageError } from './parse.ts';
import { parseSpan, peerNamed } from './values.ts';

/** The peer that is asked. */
export const on = ({ invocation }: Cli): CallOptions => {
  const peer = peerNamed(invocation.value('peer'));
  return peer === undefined ? {} : { peer };
};

/** Where something happened, behind a sentence. */
export const there = (cli: Cli): string => {
  const { peer } = on(cli);
  return peer === undefined ? '' : ` on ${plain(peer)}`;
};

/** Seconds, rounded up: nothing lives shorter than it was asked for. `without`: how long it lives otherwise. */
export const ttlOf = ({ invocation }: Cli, without = 'it lives until it is deleted'): { ttl?: number } => {
  const ttl = invocation.value('ttl');
  if (ttl === undefined) return {};
  const seconds = /^\d+$/.test(ttl) ? Number(ttl) : Math.ceil(parseSpan(ttl, 'ttl') / 1000);
  if (seconds > 0) return { ttl: seconds };
  throw usageError(`--ttl ${ttl} is no time to live`, `use seconds, or e.g. 5m; without --ttl ${without}`);
};
