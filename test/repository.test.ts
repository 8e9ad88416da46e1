import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { ERRORS, type ErrorRow } from '../src/protocol/errors.ts';
import { VERSION } from '../src/protocol/version.ts';
import { verifies } from './requirements.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(`${ROOT}${file}`, 'utf8');

const manifestSchema = z.looseObject({
  version: z.string(),
  engines: z.object({ node: z.string() }),
  bin: z.record(z.string(), z.string()),
  scripts: z.record(z.string(), z.string()),
  dependencies: z.record(z.string(), z.string()).optional(),
  devDependencies: z.record(z.string(), z.string()),
});
const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.looseObject({
      version: z.string().optional(),
      resolved: z.string().optional(),
      optionalDependencies: z.record(z.string(), z.string()).optional(),
    }),
  ),
});
const builtSchema = z.object({ files: z.array(z.string()) });
const packedSchema = z.array(z.object({ files: z.array(z.object({ path: z.string(), mode: z.int() })) }));

const manifest = manifestSchema.parse(JSON.parse(read('package.json')));
const lock = lockSchema.parse(JSON.parse(read('package-lock.json')));

describe('the repository', () => {
  it(verifies('repo.one-version', 'has one version number'), () => {
    expect(manifest.version).toBe(VERSION);
    expect(lock.packages['']?.version).toBe(VERSION);
  });

  it(verifies('install.no-scripts', 'ships without dependencies and install scripts, for Node 20 and newer'), () => {
    expect(manifest.dependencies ?? {}).toEqual({});
    expect(manifest.engines.node).toBe('>=20');
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'];
    expect(hooks.filter((name) => name in manifest.scripts)).toEqual([]);
    expect(manifest.bin).toEqual({ loopsy: 'dist/cli/index.js' });
  });

  it(verifies('repo.skips', 'leaves no test out without a reason, on any system'), () => {
    // These say none; `({ skip }) => skip(condition, reason)` does.
    const silent = /\b(?:it|test|describe)\.(?:skip|skipIf|runIf|todo)\(/;
    const tests = readdirSync(`${ROOT}test`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.ts') && !file.endsWith('results-reporter.test.ts'))
      .filter((file) => silent.test(read(`test/${file}`)));
    expect(tests).toEqual([]);
  });

  it('has no line end in what errors say: lines of their own are for the surface that prints them', () => {
    const message = /(?:\bmessage:(?! object)|new \w*Error\((?!')\s*[`"'])[^]*?(?:,\n|\)[;,]?\n)/g;
    const broken = readdirSync(`${ROOT}src`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) => [...read(`src/${file}`).matchAll(message)].map(([text]) => `${file}: ${text}`))
      .filter((text) => text.replace(/split\([^)]*\)/g, '').includes(String.raw`\n`));
    expect(broken).toEqual([]);
    expect(Object.values(ERRORS).filter((row: ErrorRow) => `${row.message}${row.hint}`.includes('\n'))).toEqual([]);
  });

  it('pins every package to one exact version', () => {
    const loose = Object.entries(manifest.devDependencies).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
    expect(loose).toEqual([]);
  });

  it('has a lock file without download addresses, whole for every system', () => {
    const rows = Object.entries(lock.packages);
    expect(rows.filter(([, { resolved }]) => resolved !== undefined).map(([name]) => name)).toEqual([]);
    const wanted = rows.flatMap(([, { optionalDependencies }]) => Object.keys(optionalDependencies ?? {}));
    // `npm ci` refuses a lock file that leaves one of them out.
    expect(wanted.filter((name) => !(`node_modules/${name}` in lock.packages))).toEqual([]);
  });

  it(verifies('repo.docs', 'has a reference that is what `npm run docs` writes'), () => {
    expect(execFileSync(process.execPath, ['scripts/docs.mjs', '--check'], { cwd: ROOT, encoding: 'utf8' })).toBe('');
  });

  it(verifies('repo.package', 'packs what runs and nothing else'), () => {
    const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
    const packed = execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', shell: process.platform === 'win32' });
    const [first] = packedSchema.parse(JSON.parse(packed));
    const files = first?.files ?? [];
    const isVendored = (path: string): boolean => path.startsWith('dist/vendor/sqlite/');
    // No bytecode of the machine that built it, and nothing of earlier builds.
    const built = builtSchema.parse(JSON.parse(read('dist/build.json'))).files.map((file) => `dist/${file}`);
    const texts = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist/build.json', 'dist/licenses.txt'];
    const expected = [...texts, 'dist/vendor/sqlite.version', ...built].toSorted();
    expect(
      files
        .map(({ path }) => path)
        .filter((path) => !isVendored(path))
        .toSorted(),
    ).toEqual(expected);
    expect(files.filter(({ path }) => isVendored(path)).length).toBeGreaterThan(8);
    expect(built).toEqual(expect.arrayContaining(['dist/cli/index.js', 'dist/daemon/main.js']));
    expect((files.find(({ path }) => path === 'dist/cli/index.js')?.mode ?? 0) & 0o111).not.toBe(0);
  });
});
