import { describe, expect, it } from 'vitest';

import { buildNodeEnvironment } from '../../src/config/node-environment.ts';

describe('the environment of a node', () => {
  it('holds what a node needs', () => {
    const env = {
      PATH: '/bin',
      HOME: '/home/kai',
      LANG: 'C',
      LC_ALL: 'C',
      TZ: 'UTC',
      XDG_RUNTIME_DIR: '/run',
      LOOPSY_PORT: '1',
    };
    expect(buildNodeEnvironment(env, 'linux')).toEqual(env);
  });

  it('is the same whoever starts it: no token, no agent’s variable, no NODE_OPTIONS', () => {
    const env = {
      NODE_OPTIONS: '--inspect',
      NODE_EXTRA_CA_CERTS: '/x',
      LOOPSY_API_KEY: 'k',
      LOOPSY_REPORT_FD: '9',
      ANTHROPIC_API_KEY: 'k',
      CLAUDECODE: '1',
      SSH_AUTH_SOCK: '/x',
      LD_PRELOAD: '/x',
      PATH: undefined,
      path: '/bin',
    };
    expect(buildNodeEnvironment(env, 'linux')).toEqual({});
  });

  it('on Windows holds what its programs can not do without, however it is written', () => {
    const env = {
      Path: 'C:\\bin',
      SystemRoot: 'C:\\Windows',
      ComSpec: 'cmd',
      'ProgramFiles(x86)': 'P',
      PATHEXT: '.EXE',
      Tmp: 'T',
    };
    expect(buildNodeEnvironment({ ...env, NODE_OPTIONS: 'x', Secret: 'x' }, 'win32')).toEqual(env);
  });
});
