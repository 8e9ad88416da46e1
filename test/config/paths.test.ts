import { describe, expect, it } from 'vitest';

import { expandPath, nodePaths, resolveDataDir, type Place } from '../../src/config/paths.ts';
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
      supervisorsDir: '/d/supervisors',
      transfersDir: '/d/transfers',
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
    });
    expect(nodePaths('C:\\d', 'win32').auditLog).toBe('C:\\d\\logs\\audit.jsonl');
  });
});

describe('a path of Git Bash', () => {
  it(verifies('platform.windows-paths', 'is one of Windows in the config and for the data folder'), () => {
    expect(expandPath('/c/x', 'C:\\Users\\kai', 'win32')).toBe('C:/x');
    expect(expandPath('/c/x', '/home/kai', 'linux')).toBe('/c/x');
    expect(resolveDataDir('/c/data', windows)).toBe('C:\\data');
  });
});

describe('the home folder', () => {
  it('stands for ~ at the beginning only', () => {
    expect(expandPath('~/a', '/home/kai', 'linux')).toBe('/home/kai/a');
    expect(expandPath('/a/~', '/home/kai', 'linux')).toBe('/a/~');
    expect(expandPath('C:/x', 'C:\\Users\\kai', 'win32')).toBe('C:/x');
  });
});
