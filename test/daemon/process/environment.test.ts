import { describe, expect, it } from 'vitest';

import { baseEnvironment, createEnvironment, mergeVariables } from '../../../src/daemon/process/environment.ts';
import { verifies } from '../../requirements.ts';
import { call, sh, startJobs } from '../jobs/setup.ts';

const SECRETS = {
  LOOPSY_DATA_DIR: '/x',
  LOOPSY_API_KEY: 'k',
  NODE_OPTIONS: '--inspect',
  CLAUDECODE: '1',
  CLAUDE_CODE_ENTRYPOINT: 'cli',
  SSH_AUTH_SOCK: '/s',
  SSH_AGENT_PID: '1',
  GPG_AGENT_INFO: '/g',
  GITHUB_TOKEN: 't',
  AWS_SECRET_ACCESS_KEY: 'a',
  ANTHROPIC_API_KEY: 'a',
  npm_config_registry: 'r',
  npm_lifecycle_event: 'test',
  VIRTUAL_ENV: '/v',
  DISPLAY: ':0',
  OLDPWD: '/',
};

describe('the environment of a run', () => {
  const posix = { platform: 'linux', home: '/home/kai', user: 'kai', path: '/captured' } as const;

  it(
    verifies('jobs.environment', 'is a named list on POSIX: no secret, no agent, no setting of the node comes along'),
    () => {
      const listed = {
        LANG: 'de_DE.UTF-8',
        LC_TIME: 'C',
        TZ: 'UTC',
        TMPDIR: '/t',
        TERM: 'xterm',
        SHELL: '/bin/zsh',
        XDG_RUNTIME_DIR: '/run/user/1',
      };
      const variables = { ...SECRETS, ...listed, PATH: '/own', HOME: '/other', USER: 'other', LOGNAME: 'kai' };
      expect(baseEnvironment({ ...posix, variables })).toEqual({
        ...listed,
        PATH: '/captured',
        HOME: '/home/kai',
        USER: 'kai',
      });
    },
  );

  it('is the system set on Windows, whatever the case of the names', () => {
    const variables = {
      ...SECRETS,
      systemroot: 'C:\\Windows',
      PATHEXT: '.EXE;.CMD',
      path: 'C:\\own',
      AppData: 'C:\\a',
      'ProgramFiles(x86)': 'C:\\p',
    };
    const built = baseEnvironment({
      platform: 'win32',
      variables,
      home: 'C:\\Users\\kai',
      user: 'kai',
      path: 'C:\\captured',
    });
    expect(built).toEqual({
      SystemRoot: 'C:\\Windows',
      PATHEXT: '.EXE;.CMD',
      Path: 'C:\\captured',
      APPDATA: 'C:\\a',
      'ProgramFiles(x86)': 'C:\\p',
      USERPROFILE: 'C:\\Users\\kai',
    });
  });

  it('joins execution.env and what the caller sends; the later wins, by name without case on Windows', () => {
    const build = createEnvironment({ ...posix, variables: {} });
    expect(build('/p', { A: '1', B: '1' }, { B: '2', NODE_OPTIONS: '--x' })).toMatchObject({
      A: '1',
      B: '2',
      NODE_OPTIONS: '--x',
      PATH: '/p',
    });
    expect(mergeVariables({ Path: 'a', X: '1' }, { PATH: 'b', x: '2' }, 'win32')).toEqual({ Path: 'b', X: '2' });
    expect(mergeVariables({ Path: 'a' }, { PATH: 'b' }, 'linux')).toEqual({ Path: 'a', PATH: 'b' });
  });

  it('follows a change of PATH and of execution.env', () => {
    const build = createEnvironment({ ...posix, variables: {} });
    const env = { A: '1' };
    expect(build('/p', env, undefined)).toBe(build('/p', env, undefined));
    expect(build('/q', env, undefined)['PATH']).toBe('/q');
    expect(build('/q', { A: '2' }, undefined)['A']).toBe('2');
  });

  it(verifies('config.execution.env', 'reaches real runs, live'), async () => {
    const { jobs, settings } = await startJobs({}, { variables: { ...SECRETS, LANG: 'C' } });
    const keys = async (): Promise<string[]> =>
      (await jobs.execute({ command: 'env', env: { SENT: 'yes' } }, call())).stdout.trim().split('\n').sort();
    const path = `PATH=${process.env['PATH'] ?? ''}`;
    const home = expect.stringMatching(/^HOME=/);
    expect(await keys()).toEqual([home, 'LANG=C', path, 'SENT=yes', 'USER=tester']);
    settings.env = { ADDED: '1' };
    expect(await keys()).toEqual(['ADDED=1', home, 'LANG=C', path, 'SENT=yes', 'USER=tester']);
    expect((await jobs.execute(sh('echo $ADDED'), call())).stdout).toBe('1\n');
  });
});
