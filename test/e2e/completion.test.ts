import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { SCRIPTS } from '../../src/cli/completion/scripts.ts';
import { CLI, connectMachines, environment, finished, Machine } from '../helpers/nodes.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;

/** A home with `loopsy` on its path; runs a text in a shell there. */
const shellIn = async (home: string, program: string) => {
  const bin = join(home, 'bin');
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, 'loopsy'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`);
  await chmod(join(bin, 'loopsy'), 0o755);
  const { PATH, ...env } = environment(home);
  const run = async (text: string, ...args: string[]): Promise<string[]> => {
    const child = spawn(program, [...args, '-c', text], {
      env: { ...env, PATH: `${bin}${delimiter}${PATH}` },
      cwd: home,
    });
    const { code, stdout, stderr } = await finished(child);
    if (code !== 0 || stderr !== '') throw new Error(`${program} ended with ${code}: ${stdout}${stderr}`);
    return stdout.split('\n').filter((line) => line !== '');
  };
  return run;
};

/** What bash would offer: its words and the place of the cursor, as readline gives them. */
const inBash = (words: readonly string[]): string =>
  [
    'eval "$(loopsy completion bash)"',
    `COMP_WORDS=(loopsy ${words.map((word) => `'${word}'`).join(' ')})`,
    `COMP_CWORD=${words.length}`,
    `$(complete -p loopsy | sed 's/.*-F \\([^ ]*\\).*/\\1/') loopsy`,
    `printf '%s\\n' "\${COMPREPLY[@]}"`,
  ].join('\n');

const pair = async (): Promise<Machine> => {
  const [a, b] = [await Machine.create('asks'), await Machine.create('answers')];
  onTestFinished(async () => void (await Promise.all([a.remove(), b.remove()])));
  await connectMachines(a, b);
  return a;
};

describe('a real shell', () => {
  it(verifies('cli.completion', 'bash completes commands, options, peers and files'), async ({ skip }) => {
    if (!has('bash')) return skip('needs bash');
    const machine = await pair();
    const bash = await shellIn(machine.home, 'bash');
    expect(await bash(inBash(['ex']))).toEqual(['exec']);
    expect(await bash(inBash(['peers', 're']))).toEqual(['remove', 'revoke', 'rename']);
    expect(await bash(inBash(['exec', '--ti']))).toEqual(['--timeout']);
    expect(await bash(inBash(['exec', '']))).toEqual(['answers']);
    expect(await bash(inBash(['jobs', '--peer', '=', 'an']))).toEqual(['answers']);
    await writeFile(join(machine.home, 'a file'), '');
    expect(await bash(inBash(['exec', 'answers', 'cat', 'a']))).toEqual(['a file']);
    await machine.run(['stop']);
    expect(await bash(inBash(['exec', '']))).toEqual([]);
    expect(await bash(inBash(['sta']))).toEqual(['start', 'status']);
  });

  it(verifies('cli.completion', 'fish completes commands and peers, with what they are'), async ({ skip }) => {
    if (!has('fish')) return skip('needs fish');
    const machine = await pair();
    const fish = await shellIn(machine.home, 'fish');
    const ask = (line: string): Promise<string[]> =>
      fish(`loopsy completion fish | source; complete -C '${line}'`, '--no-config');
    expect(await ask('loopsy selft')).toEqual(['selftest\ttry everything on a peer, and say how fast it is']);
    expect(await ask('loopsy exec ')).toEqual(['answers\tonline']);
    expect(await ask('loopsy peers grant answers f')).toEqual(['full']);
    expect(await ask('loopsy jobs --peer=an')).toEqual(['--peer=answers\tonline']);
  });

  it(verifies('cli.completion', 'zsh completes commands and peers, with what they are'), async ({ skip }) => {
    if (!has('zsh')) return skip('needs zsh');
    const machine = await pair();
    const zsh = await shellIn(machine.home, 'zsh');
    // What zsh's own functions are given is shown in their place.
    const ask = (...words: string[]): Promise<string[]> =>
      zsh(
        [
          'compdef() { :; }; _files() { print files; }; _describe() { print -l "${(@P)2}"; }',
          'eval "$(loopsy completion zsh)"',
          `words=(loopsy ${words.map((word) => `'${word}'`).join(' ')}); CURRENT=$#words; _loopsy || true`,
        ].join('\n'),
        '-f',
      );
    expect(await ask('selft')).toEqual(['selftest:try everything on a peer, and say how fast it is']);
    expect(await ask('exec', '')).toEqual(['answers:online']);
    expect(await ask('exec', 'answers', 'ls', '')).toEqual(['files']);
    expect(await ask('nonsense', '')).toEqual([]);
  });

  it('each script is one that its shell understands', async () => {
    const folder = await tempFolder();
    for (const shell of ['bash', 'zsh', 'fish'] as const) {
      if (!has(shell)) continue;
      await writeFile(join(folder, shell), SCRIPTS[shell]);
      expect(String(spawnSync(shell, ['-n', join(folder, shell)]).stderr)).toBe('');
    }
    for (const script of Object.values(SCRIPTS)) expect(script).not.toContain('undefined');
  });
});
