import { describe, expect, it } from 'vitest';

import type { Ends, SourceEnd, TargetEnd } from '../../../src/daemon/transfers/ends.ts';
import { failedOf } from '../../../src/daemon/transfers/format.ts';
import { locatedEnds } from '../../../src/daemon/transfers/located-ends.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { verifies } from '../../requirements.ts';

const place = { name: 'kai', nodeId: 'kai' };
const never = new AbortController().signal;

/** Two ends that fail with this, whatever they are asked for; a target first takes what it is given. */
const failing = (error: LoopsyError): Ends => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('x');
    throw error;
  }
  const fail = async (): Promise<never> => {
    throw error;
  };
  const source: SourceEnd = {
    place,
    partBytes: 1,
    open: fail,
    read: async () => broken(),
    close: async () => undefined,
  };
  const target: TargetEnd = {
    place,
    open: fail,
    write: async (_, body) => {
      if (typeof body === 'object') for await (const _chunk of body as AsyncIterable<Uint8Array>) continue;
      throw error;
    },
    put: fail,
    close: async () => undefined,
  };
  return locatedEnds({ source: () => source, target: () => target });
};

const atOf = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => 'nothing',
    (thrown: LoopsyError) => thrown.details?.['at'],
  );

describe('an error of one end', () => {
  const denied = new LoopsyError('path_denied', { message: 'no', hint: 'ask', details: { path: 'x' } });

  it(verifies('transfers.errors.where', 'says which end it is of, and keeps what it said'), async () => {
    const ends = failing(denied);
    const [source, target] = [ends.source(never), ends.target(never)];
    expect(await atOf(source.open({ paths: ['x'] }))).toBe('source');
    expect(await atOf(target.write('plan', '{}'))).toBe('target');
    const put = target.put(
      { file: 0, at: 0, to: 1, turn: 0 },
      await source.read({ kind: 'group', at: 0 }),
      () => undefined,
    );
    expect(await atOf(put)).toBe('target');
    const thrown = await target.write('plan', '{}').catch((error: unknown) => error as LoopsyError);
    expect(thrown).toMatchObject({ error: 'path_denied', message: 'no', hint: 'ask', details: { path: 'x' } });
    expect(failedOf('x', thrown as LoopsyError)).toEqual(['x', 'path_denied', 'no', 'ask', 'target']);
  });

  it('is the source’s where its bytes break on their way to the target', async () => {
    const ends = failing(denied);
    const bytes = await ends.source(never).read({ kind: 'group', at: 0 });
    expect(await atOf(ends.target(never).write('batch', bytes))).toBe('source');
  });

  it('is of neither where it is the way that broke', async () => {
    const ends = failing(new LoopsyError('peer_unreachable'));
    expect(await atOf(ends.source(never).open({ paths: ['x'] }))).toBeUndefined();
    expect(await atOf(ends.target(never).write('plan', '{}'))).toBeUndefined();
  });
});
