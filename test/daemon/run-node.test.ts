import { describe, expect, it } from 'vitest';

import { ListenFailure } from '../../src/daemon/edge/bind-addresses.ts';
import { fail } from '../../src/daemon/run-node.ts';
import { ServiceStartError } from '../../src/kernel/lifecycle.ts';
import { EXIT, LoopsyError } from '../../src/protocol/errors.ts';

const failure = (code: string): ListenFailure =>
  new ListenFailure('10.0.0.1', 19_532, Object.assign(new Error('x'), { code }));

describe('why a node did not start', () => {
  it('is told in the words of the catalogue, whichever service it was', () => {
    const reason = new LoopsyError('config_invalid', { message: 'unknown key' });
    expect(fail(reason)).toBe(reason);
    expect(fail(new ServiceStartError('listener', reason))).toBe(reason);
  });

  it('names the port that is taken, and where to change it', () => {
    expect(fail(new ServiceStartError('listener', failure('EADDRINUSE')))).toMatchObject({
      error: 'conflict',
      exit: EXIT.failed,
      message: 'port 19532 is taken',
      hint: expect.stringContaining('server.port in config.yaml'),
      details: { port: 19_532, host: '10.0.0.1', cause: 'EADDRINUSE' },
    });
  });

  it('names the address that is not this machine’s, and the port that needs rights', () => {
    for (const code of ['EADDRNOTAVAIL', 'EACCES']) {
      const error = fail(failure(code));
      expect(error).toMatchObject({ error: 'conflict', hint: expect.stringContaining('server.host and server.port') });
      expect(error.message).toContain('10.0.0.1:19532');
      expect(error.message).toContain(code);
    }
  });

  it('is the disk, or the rights on it, in words of its own', () => {
    const full = Object.assign(new Error('ENOSPC: x'), { code: 'ENOSPC', path: '/data/loopsy.db' });
    expect(fail(new ServiceStartError('database', full))).toMatchObject({
      error: 'data_folder',
      message: '/data/loopsy.db: the disk is full',
    });
  });

  it('keeps the words of what nobody expected', () => {
    expect(fail(new Error('disk on fire'))).toMatchObject({ error: 'internal', message: 'disk on fire' });
    expect(fail('odd')).toMatchObject({ error: 'internal', message: 'odd' });
  });
});
