import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** One import of one file, as its text says it. */
export interface Import {
  /** Relative to the repository, with forward slashes. */
  readonly from: string;
  /** A package, `node:x`, or for a relative one the file, relative to the repository. */
  readonly to: string;
  readonly typeOnly: boolean;
  readonly lazy: boolean;
}

const STATIC = /^[ \t]*(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]/gm;
const LAZY = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

/** The TypeScript files below a folder. */
export const sourcesIn = (root: string, folder: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.ts'));

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');

/** Every import of a file. */
export const importsOf = (root: string, file: string): Import[] => {
  const text = withoutComments(readFileSync(path.join(root, file), 'utf8'));
  const resolve = (to: string): string => (to.startsWith('.') ? path.posix.join(path.posix.dirname(file), to) : to);
  const eager = [...text.matchAll(STATIC)].map(([, type, to = '']) => ({
    from: file,
    to: resolve(to),
    typeOnly: type !== undefined,
    lazy: false,
  }));
  const lazy = [...text.matchAll(LAZY)].map(([, to = '']) => ({
    from: file,
    to: resolve(to),
    typeOnly: false,
    lazy: true,
  }));
  return [...eager, ...lazy];
};

/** `@scope/name/x` → `@scope/name`; `name/x` → `name`. */
export const packageOf = (specifier: string): string =>
  specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
