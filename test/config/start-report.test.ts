import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { parseStartReport, reportStart, REPORT_VARIABLE } from '../../src/config/start-report.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';

describe('the report of a start', () => {
  it('is understood by the other side', () => {
    const folder = mkdtempSync(join(tmpdir(), 'loopsy-test-'));
    try {
      for (const report of [
        { ready: true, url: 'http://127.0.0.1:1', pid: 7 } as const,
        new LoopsyError('conflict', { message: 'the port is taken\nby another' }).toBody(),
      ]) {
        const env = { [REPORT_VARIABLE]: String(openSync(join(folder, 'pipe'), 'w')) };
        expect(reportStart(report, env)).toBe(true);
        expect(env).toEqual({});
        expect(reportStart(report, env)).toBe(false);
        const [line = '', rest] = readFileSync(join(folder, 'pipe'), 'utf8').split('\n');
        expect(rest).toBe('');
        expect(parseStartReport(line)).toEqual(report);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is written nowhere when nobody asked for it, or the asker has gone', () => {
    const report = { ready: true, url: 'x', pid: 1 } as const;
    expect(reportStart(report, {})).toBe(false);
    for (const fd of ['', '0', '1', '2', 'x', '3.5'])
      expect(reportStart(report, { [REPORT_VARIABLE]: fd })).toBe(false);
    const fd = openSync(process.execPath, 'r');
    closeSync(fd);
    expect(reportStart(report, { [REPORT_VARIABLE]: String(fd) })).toBe(false);
  });

  it.each([
    '',
    '{',
    'null',
    '1',
    '{}',
    '{"ready":false}',
    '{"ready":true}',
    '{"ready":true,"url":1,"pid":1}',
    '{"error":null}',
    '{"error":{}}',
  ])('is none where it makes no sense: %s', (line) => expect(parseStartReport(line)).toBeUndefined());
});
