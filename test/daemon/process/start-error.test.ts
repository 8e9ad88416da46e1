import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { resolveCwd } from '../../../src/daemon/jobs/plan.ts';
import { explainStartError } from '../../../src/daemon/process/start-error.ts';
import type { ExecuteInput } from '../../../src/protocol/jobs.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { allow, call, OWNER, sh, startJobs } from '../jobs/setup.ts';

const failureOf = async (input: ExecuteInput, prepare: (home: string) => Promise<void> = async () => undefined) => {
  const { jobs, home } = await startJobs();
  await prepare(home);
  const error: unknown = await jobs.execute(input, call()).catch((thrown: unknown) => thrown);
  await expect(jobs.stream(input, call())).rejects.toMatchObject({ error: 'execution_failed', status: 422 });
  const [row] = (await jobs.list({ state: 'all' }, OWNER)).jobs;
  expect(row).toMatchObject({ state: 'ended', exitCode: null, error: (error as Error).message });
  expect(row).not.toHaveProperty('pid');
  return error;
};

describe('a run that can not be started', () => {
  it(verifies('error.3004', 'names the command that was not found, and leaves a record that says so'), async () => {
    expect(await failureOf({ command: 'no-such-program' })).toMatchObject({
      error: 'execution_failed',
      message: 'the command "no-such-program" was not found',
      details: { command: 'no-such-program', cause: 'ENOENT' },
    });
  });

  it.each([
    ['cd', /part of a shell/],
    ['source', /part of a shell/],
    ['ls -la /', /one by one, or use shell/],
    ['./missing', /check the path/],
    ['/no/such/file', /check the path/],
  ])('says for "%s" what to do next', async (command, hint) => {
    expect(await failureOf({ command })).toMatchObject({ hint: expect.stringMatching(hint) as string });
  });

  it.each([
    ['dir', /part of a shell/],
    ['DEL', /part of a shell/],
    [String.raw`tools\missing`, /check the path/],
    ['missing', /its spelling/],
  ])('says for "%s" what to do next on Windows', async (command, hint) => {
    const attempt = { command: allow({ command }), cwd: await tempFolder(), platform: 'win32' } as const;
    expect(await explainStartError(Object.assign(new Error('no'), { code: 'ENOENT' }), attempt)).toMatchObject({
      message: `the command "${command}" was not found`,
      hint: expect.stringMatching(hint) as string,
    });
  });

  it('names the folder that is not there, or is none, rather than the command', async () => {
    expect(await failureOf({ command: 'true', cwd: 'gone' })).toMatchObject({
      message: expect.stringMatching(/gone is not there$/) as string,
    });
    const file = async (home: string): Promise<void> => writeFile(join(home, 'file'), '');
    expect(await failureOf({ command: 'true', cwd: 'file' }, file)).toMatchObject({
      message: expect.stringMatching(/file is not a folder$/) as string,
    });
  });

  it('says that a file may not be executed, or that its interpreter is missing', async () => {
    const plain = async (home: string): Promise<void> => writeFile(join(home, 'plain'), 'x');
    expect(await failureOf({ command: './plain' }, plain)).toMatchObject({ message: '"./plain" may not be executed' });
    expect(await failureOf({ command: './d' }, (home) => mkdir(join(home, 'd')))).toMatchObject({
      details: { cause: 'EACCES' },
    });
    const script = async (home: string): Promise<void> => {
      await writeFile(join(home, 'script'), '#!/no/such/interpreter\n');
      await chmod(join(home, 'script'), 0o755);
    };
    expect(await failureOf({ command: './script' }, script)).toMatchObject({
      message: expect.stringMatching(/interpreter/) as string,
    });
  });

  it('says that its arguments are too long', async () => {
    const args = Array.from({ length: 30 }, () => 'x'.repeat(130_000));
    expect(await failureOf({ command: 'true', args })).toMatchObject({
      details: { cause: 'E2BIG' },
      hint: 'send long data through stdin',
    });
  });

  it('gives its place in the queue to the next', async () => {
    const { jobs } = await startJobs({ maxConcurrent: 1 });
    for (let at = 0; at < 3; at++) await expect(jobs.execute({ command: 'none' }, call())).rejects.toThrow('not found');
    expect(await jobs.execute(sh('echo ok'), call())).toMatchObject({ stdout: 'ok\n' });
  });
});

describe('the folder of a run', () => {
  it('is the home by default; relative ones and ~ begin there; Windows takes the ways of Git Bash', () => {
    expect(resolveCwd(undefined, '/home/kai', 'linux')).toBe('/home/kai');
    expect(resolveCwd('~', '/home/kai', 'linux')).toBe('/home/kai');
    expect(resolveCwd('~/x', '/home/kai', 'linux')).toBe('/home/kai/x');
    expect(resolveCwd('x/../y', '/home/kai', 'linux')).toBe('/home/kai/y');
    expect(resolveCwd('/tmp', '/home/kai', 'linux')).toBe('/tmp');
    expect(resolveCwd('/c/work', 'C:\\Users\\kai', 'win32')).toBe('C:\\work');
    expect(resolveCwd('D:/work', 'C:\\Users\\kai', 'win32')).toBe('D:\\work');
    expect(resolveCwd('work', 'C:\\Users\\kai', 'win32')).toBe('C:\\Users\\kai\\work');
  });
});
