import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { parseCommandLine } from '../src/cli/parse.ts';
import { verifies } from './requirements.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(`${ROOT}${file}`, 'utf8');

const README = read('README.md');
const blocks = [...README.matchAll(/```sh\n(.*?)```/gs)].map(([, text = '']) =>
  text.split('\n').filter((line) => line !== ''),
);
const { scripts } = z
  .looseObject({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(read('package.json')));

/** The words of each `loopsy …` in a text: up to a comment, a pipe, a redirection or the next command. */
const commandsIn = (text: string): string[][] =>
  [...text.replaceAll(/<\w+>/g, 'x').matchAll(/\bloopsy (?=[a-z-])([^#|&>`\n]+)/g)].map(([, words = '']) =>
    words.trim().split(/\s+/),
  );

describe('the README', () => {
  it(verifies('install.offer', 'stands on `npm start` and `npm test`'), () => {
    expect(blocks[0]?.map((line) => line.replace(/\s*#.*/, ''))).toEqual(['npm start', 'npm test']);
  });

  it(verifies('install.offer', 'names commands, scripts and files that are there'), () => {
    const typed = blocks.flat().flatMap(commandsIn);
    // In a sentence a command stands without what it needs.
    const told = [...README.matchAll(/`([^`\n]+)`/g)]
      .flatMap(([, text = '']) => commandsIn(text))
      .map((words) => [...words, '--help']);
    expect(typed.length).toBeGreaterThan(8);
    for (const words of [...typed, ...told]) {
      expect([words, parseCommandLine(words).spec?.path]).toEqual([words, expect.any(String)]);
    }
    const named = [...README.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    const links = [...README.matchAll(/\]\(([^)#:]+)\)/g)].map(([, file = '']) => file);
    expect(links.filter((file) => !existsSync(`${ROOT}${file}`))).toEqual([]);
  });
});
