import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { invalidInput, toLoopsyError } from '../../../src/daemon/edge/error-reply.ts';
import { systemClock as clock } from '../../../src/kernel/clock.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { verifies } from '../../requirements.ts';

const loggingTo = (lines: string[]) => createLog({ level: 'info', clock, write: (line) => void lines.push(line) });

describe('what was thrown', () => {
  it('is answered as it is where it is one of the catalogue', () => {
    const lines: string[] = [];
    const error = new LoopsyError('job_not_found');
    expect(toLoopsyError(error, loggingTo(lines))).toBe(error);
    expect(lines).toEqual([]);
  });

  it.each([new Error('SECRET in /home/kai'), 'SECRET', undefined, { code: 'SECRET' }])(
    verifies('error.9001', 'is `internal` with a reference that is in the log where it is not: %j'),
    (thrown) => {
      const lines: string[] = [];
      const error = toLoopsyError(thrown, loggingTo(lines));
      const { reference } = error.details ?? {};
      expect(error).toMatchObject({ error: 'internal', status: 500, code: 9001 });
      expect(JSON.stringify(error.toBody())).not.toContain('SECRET');
      expect(error.message).toContain(String(reference));
      expect(lines).toEqual([expect.stringContaining(`"reference":"${String(reference)}"`)]);
    },
  );
});

describe('a request that is not valid', () => {
  const schema = z.strictObject({ command: z.string(), env: z.record(z.string(), z.string()).optional() });
  const complain = (value: unknown): LoopsyError =>
    invalidInput(schema.safeParse(value).error ?? new z.ZodError([]), Object.keys(schema.shape));

  it(verifies('rest.error-shape', 'names the field, however deep, and the nearest one for a field too many'), () => {
    expect(complain({ command: 1 })).toMatchObject({
      error: 'invalid_request',
      status: 400,
      details: { field: 'command' },
    });
    expect(complain({ command: 'a', env: { A: 1 } }).details).toEqual({ field: 'env.A' });
    expect(complain({ comand: 'a', command: 'a' })).toMatchObject({
      hint: 'did you mean "command"?',
      details: { field: 'comand' },
    });
    expect(complain({ command: 'a', zzzzzz: 1 }).hint).toBe('the fields are: command, env');
    expect(complain('text').message).toContain('the request is not valid');
  });

  it('is said even where nothing is known of it', () => {
    expect(invalidInput(new z.ZodError([]), [])).toMatchObject({ error: 'invalid_request' });
  });
});
