import { describe, expect, it } from 'vitest';

import { parseLsof, parseNetstat, parseProcNet } from '../../src/cli/port-holder.ts';

describe('the holder of a port', () => {
  it('is read from lsof', () => {
    expect(parseLsof('p4711\ncnginx\nf6\n')).toBe('nginx (pid 4711)');
    expect(parseLsof('')).toBeUndefined();
  });

  it('is read from netstat, in any language, and no connection is taken for it', () => {
    const text = [
      '  Proto  Lokale Adresse         Remoteadresse          Status           PID',
      '  TCP    127.0.0.1:19532        127.0.0.1:50110        HERGESTELLT      99',
      '  TCP    0.0.0.0:119532         0.0.0.0:0              ABHÖREN          98',
      '  TCP    0.0.0.0:19532          0.0.0.0:0              ABHÖREN          4711',
    ].join('\r\n');
    expect(parseNetstat(text, 19_532)).toBe('the program with pid 4711');
    expect(parseNetstat(text, 1)).toBeUndefined();
  });

  it('is found by the inode of its socket on Linux', () => {
    const text = [
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
      '   0: 0100007F:4C4C 0100007F:AA41 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0',
      '   1: 0100007F:4C4C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 242685 1 0 100 0 0 10 0',
    ].join('\n');
    expect(parseProcNet(text, 19_532)).toBe('242685');
    expect(parseProcNet(text, 19_533)).toBeUndefined();
  });
});
