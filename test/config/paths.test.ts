import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { expandHome, nodePaths, resolveDataDir, sessionDir, type Place } from '../../src/config/paths.ts';
import { errorOf } from './source.ts';
import { verifies } from '../requirements.ts';

const mac: Place = { env: {}, home: '/Users/kai', cwd: '/place', platform: 'darwin' };
const windows: Place = { env: {}, home: 'C:\\Users\\kai', cwd: 'D:\\work', platform: 'win32' };

describe('the data folder', () => {
  it(verifies('cli.data-dir', 'is ~/.loopsy, unless the environment or, before it, an option says otherwise'), () => {
    expect(resolveDataDir(undefined, mac)).toBe('/Users/kai/.loopsy');
    const env = { LOOPSY_DATA_DIR: '/from/env' };
    expect(resolveDataDir(undefined, { ...mac, env })).toBe('/from/env');
    expect(resolveDataDir('/from/option', { ...mac, env })).toBe('/from/option');
    expect(resolveDataDir(undefined, { ...mac, env: { LOOPSY_DATA_DIR: '' } })).toBe('/Users/kai/.loopsy');
  });

  it('is absolute, whatever form it is given in', () => {
    expect(resolveDataDir('data', mac)).toBe('/place/data');
    expect(resolveDataDir('~/data', mac)).toBe('/Users/kai/data');
    expect(resolveDataDir('~', mac)).toBe('/Users/kai');
    expect(resolveDataDir('~other', mac)).toBe('/place/~other');
  });

  it('follows the rules of Windows there', () => {
    expect(resolveDataDir(undefined, windows)).toBe('C:\\Users\\kai\\.loopsy');
    expect(resolveDataDir('data', windows)).toBe('D:\\work\\data');
    expect(resolveDataDir('~\\data', windows)).toBe('C:\\Users\\kai\\data');
    expect(resolveDataDir('E:/x', windows)).toBe('E:\\x');
  });
});

describe('the places in it', () => {
  it('are those of the contract', () => {
    expect(nodePaths('/d', 'linux')).toEqual({
      dataDir: '/d',
      config: '/d/config.yaml',
      configLock: '/d/config.lock',
      database: '/d/loopsy.db',
      trustDatabase: '/d/trust.db',
      jobsDir: '/d/jobs',
      logsDir: '/d/logs',
      auditLog: '/d/logs/audit.jsonl',
      nodeLog: '/d/logs/node.log',
      pidFile: '/d/daemon.pid',
      nodeLock: '/d/node.lock',
      registration: '/d/node.json',
      agentFile: '/d/agent.json',
      tlsDir: '/d/tls',
      certificate: '/d/tls/cert.pem',
      privateKey: '/d/tls/key.pem',
      sessionsDir: '/d/sessions',
    });
    expect(nodePaths('C:\\d', 'win32').auditLog).toBe('C:\\d\\logs\\audit.jsonl');
  });

  it('of sessions lie below it, whatever they are called', async () => {
    const machine = nodePaths('/d', 'linux');
    expect(sessionDir(machine, 'worker-1', 'linux')).toBe('/d/sessions/worker-1');
    for (const name of ['..', '.', '', 'a/b', 'a\\b', 'A', '-a', 'a\0', 'x'.repeat(33), '%2e%2e']) {
      expect((await errorOf(() => sessionDir(machine, name))).error).toBe('invalid_request');
    }
    fc.assert(
      fc.property(fc.string(), (name) => {
        try {
          expect(sessionDir(machine, name, 'linux')).toBe(`/d/sessions/${name}`);
          expect(name).toMatch(/^[a-z0-9-]+$/);
        } catch (error) {
          expect(error).toMatchObject({ error: 'invalid_request' });
        }
      }),
    );
  });
});

describe('the home folder', () => {
  it('stands for ~ at the beginning only', () => {
    expect(expandHome('~/a', '/home/kai', 'linux')).toBe('/home/kai/a');
    expect(expandHome('/a/~', '/home/kai', 'linux')).toBe('/a/~');
    expect(expandHome('C:/x', 'C:\\Users\\kai', 'win32')).toBe('C:/x');
    expect(expandHome('/c/x', 'C:\\Users\\kai', 'win32')).toBe('/c/x');
  });
});
