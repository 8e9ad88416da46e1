import { describe, expect, it } from 'vitest';

import { createLog } from '../../src/kernel/log.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';

const setUp = (level: 'debug' | 'info' | 'warn' | 'error' = 'info') => {
  const lines: string[] = [];
  const log = createLog({ level, clock: new FakeClock(0), write: (line) => lines.push(line) });
  return { log, lines, last: (): unknown => JSON.parse(lines.at(-1) ?? 'null') };
};

describe('the log', () => {
  it('writes one line of JSON for each event, with time, level and fields', () => {
    const { log, lines } = setUp();
    log.info('peer online', { peer: 'kai', latencyMs: 3 });
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"peer online","peer":"kai","latencyMs":3}\n',
    ]);
  });

  it('keeps a text with line breaks on one line', () => {
    const { log, lines } = setUp();
    log.info('x', { text: 'a\nb\r\n{"level":"error"}' });
    expect(lines[0]?.trimEnd()).not.toContain('\n');
  });

  it('drops what is below its level, which can change while it runs, for its children too', () => {
    const { log, lines } = setUp('warn');
    const child = log.child({ room: 'jobs' });
    log.info('no');
    child.info('no');
    log.setLevel('debug');
    child.debug('yes');
    log.setLevel('error');
    log.warn('no');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"room":"jobs"');
  });

  it('gives the fields of a child to all its lines; a line may replace them', () => {
    const { log, last } = setUp();
    log.child({ a: 1, b: 1 }).child({ b: 2 }).warn('x', { c: 3 });
    expect(last()).toMatchObject({ a: 1, b: 2, c: 3 });
  });

  it('never lets a field replace time, level or event', () => {
    const { log, last } = setUp();
    log.info('real', { event: 'forged', level: 'error', time: 'never' });
    expect(last()).toMatchObject({ event: 'real', level: 'info' });
  });

  it(verifies('kernel.redaction', 'redacts secrets, in its children too'), () => {
    const { log, lines } = setUp();
    log.child({ headers: { authorization: 'Bearer abcdef' } }).info('x', { token: 'abcdef' });
    expect(lines[0]).not.toContain('abcdef');
  });
});
