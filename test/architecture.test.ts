import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { importsOf, packageOf, sourcesIn, type Import } from './helpers/imports.ts';
import { verifies } from './requirements.ts';

const ROOT = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const require = createRequire(import.meta.url);

/** Room → the rooms that it may import. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  kernel: [],
  config: ['protocol', 'kernel'],
  store: ['kernel'],
  trust: ['protocol', 'kernel'],
  discovery: ['protocol', 'kernel'],
  client: ['protocol'],
  daemon: ['protocol', 'kernel', 'config', 'store', 'trust', 'discovery', 'client'],
  cli: ['protocol', 'client', 'config', 'kernel'],
};
const ROOMS = Object.keys(ARROWS);

/** Room → what it may import from outside, and why. */
const OUTSIDE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  protocol: { zod: 'one schema for validation, types, OpenAPI and the reference' },
  kernel: { 'node:': 'files, timers, randomness' },
  config: {
    zod: 'the schema of config.yaml',
    yaml: 'edits a file without touching the comments',
    'node:': 'files and processes',
  },
  store: { 'node:': 'SQLite, worker threads and files' },
  trust: {
    '@noble/curves': 'the one deterministic signature (RFC 6979), and pairing (SPAKE2)',
    'node:': 'keys, hashes, files',
  },
  discovery: {},
  client: {},
  daemon: {
    'find-my-way': 'finds a route by method and path',
    'cross-spawn': 'commands by PATHEXT on Windows, without a shell',
    '@fastify/busboy': 'reads the form of a pushed file as it comes, with what looks like its boundary',
    zod: 'JSON schemas of the operation table',
    'node:': 'sockets, processes, files',
  },
  cli: {
    '@clack/prompts': 'the questions of the wizards',
    uqr: 'an invitation as a QR code',
    'node:': 'terminal, processes',
  },
};

const files = sourcesIn(ROOT, 'src');
const imports = files.flatMap((file) => importsOf(ROOT, file));
const roomOf = (file: string): string => file.split('/')[1] ?? '';
const show = ({ from, to }: Import): string => `${from} → ${to}`;

describe('the arrows between rooms', () => {
  const scratch = mkdtempSync(path.join(ROOT, '.cache', 'arrows-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  const write = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(scratch, file)), { recursive: true });
    writeFileSync(path.join(scratch, file), text);
  };
  const manifest = require.resolve('typescript/package.json');
  const compile = (): { status: number | null; output: string } => {
    const tsc = path.join(path.dirname(manifest), 'bin', 'tsc');
    const rooms = ROOMS.map((room) => path.join('src', room));
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-b', ...rooms], { cwd: scratch, encoding: 'utf8' });
    return { status, output: stdout };
  };
  const pairs = ROOMS.flatMap((from) => ROOMS.filter((to) => to !== from).map((to) => ({ from, to })));
  const isAllowed = ({ from, to }: { from: string; to: string }): boolean => ARROWS[from]?.includes(to) ?? false;

  it(verifies('repo.arrows', 'hold: each forbidden import fails the build, each allowed one passes'), () => {
    cpSync(path.join(ROOT, 'tsconfig.base.json'), path.join(scratch, 'tsconfig.base.json'));
    for (const room of ROOMS) {
      cpSync(path.join(ROOT, 'src', room, 'tsconfig.json'), path.join(scratch, 'src', room, 'tsconfig.json'));
      write(`src/${room}/target.ts`, `export const ${room} = 1;\n`);
    }
    const importer = (to: string): string => `import { ${to} } from '../${to}/target.ts';\nexport const it = ${to};\n`;
    for (const pair of pairs.filter(isAllowed)) write(`src/${pair.from}/to-${pair.to}.ts`, importer(pair.to));
    expect(compile()).toEqual({ status: 0, output: '' });

    const forbidden = pairs
      .filter((pair) => !isAllowed(pair))
      .map(({ from, to }) => ({ file: `src/${from}/to-${to}.ts`, text: importer(to) }));
    forbidden.push(
      { file: 'src/protocol/to-node.ts', text: "export { readFileSync } from 'node:fs';\n" },
      { file: 'src/client/to-node.ts', text: "export { readFileSync } from 'node:fs';\n" },
      { file: 'src/protocol/to-process.ts', text: 'export const it = process.pid;\n' },
      { file: 'src/protocol/to-dom.ts', text: 'export const it = document.title;\n' },
      ...ROOMS.filter((room) => room !== 'client').map((room) => ({
        file: `src/${room}/to-page.ts`,
        text: 'export const it = window.location;\n',
      })),
    );
    for (const { file, text } of forbidden) write(file, text);
    const { output } = compile();
    expect(forbidden.filter(({ file }) => !output.includes(file)).map(({ file }) => file)).toEqual([]);
  });

  it('are the ones that the imports use, and nobody imports the daemon or a surface', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!to.startsWith('src/') || roomOf(to) === roomOf(from)) return false;
      return !isAllowed({ from: roomOf(from), to: roomOf(to) });
    });
    expect(wrong.map(show)).toEqual([]);
    const ends = ['daemon', 'cli', 'mcp-server', 'dashboard'];
    expect(
      imports.filter(
        ({ from, to }) => to.startsWith('src/') && ends.includes(roomOf(to)) && roomOf(from) !== roomOf(to),
      ),
    ).toEqual([]);
  });

  it('lead to files that are there, and out of src nowhere', () => {
    const relative = imports.filter(({ to }) => to.includes('/') && /^(\.|src\/)/.test(to));
    expect(relative.filter(({ to }) => !existsSync(path.join(ROOT, to))).map(show)).toEqual([]);
    expect(imports.filter(({ to }) => /^(\.\.|test|bench|scripts|dist)\//.test(to)).map(show)).toEqual([]);
  });
});

/** Feature → feature, each with its reason. */
const FEATURE_ARROWS: Readonly<Record<string, string>> = {
  'peers → edge': 'frames of another node are read by the code that stands beside the one that writes them',
  'pairing → peers': 'dial.ts is the only code that connects to another node, pairing included',
  'supervisor → jobs': 'a process of its own that runs the same jobs: the node under another roof, not another feature',
};

/** What stands below the features; each may use only what stands before it. */
const FOUNDATIONS = ['events', 'process', 'storage'];
/** The way to a peer, as an interface. */
const FORWARD = 'src/daemon/peers/forward.ts';

describe('the arrows inside the daemon', () => {
  const folderOf = (file: string): string => (file.split('/').length > 3 ? (file.split('/')[2] ?? '') : 'compose');
  const inside = imports.filter(({ from, to }) => from.startsWith('src/daemon/') && to.startsWith('src/'));

  const isAllowed = ({ from, to, typeOnly }: Import): boolean => {
    const folder = folderOf(from);
    if (folder === 'compose') return true;
    const room = roomOf(to);
    if (room !== 'daemon') return folder !== 'edge' || ['protocol', 'kernel', 'trust'].includes(room);
    const target = folderOf(to);
    if (target === folder || target === 'events' || target === 'storage') return true;
    // The bus has a handler as features have: what it fulfils are types of the edge.
    if (folder === 'events') return typeOnly && target === 'edge';
    if (folder === 'edge' || FOUNDATIONS.includes(folder)) return false;
    // What a handler fulfils are types of the edge; only its values are out of reach.
    const isInterface = typeOnly && (target === 'edge' || to === FORWARD);
    return isInterface || target === 'process' || `${folder} → ${target}` in FEATURE_ARROWS;
  };

  it(verifies('repo.daemon-arrows', 'hold: the edge knows no feature, no feature another'), () => {
    expect(inside.filter((one) => !isAllowed(one)).map(show)).toEqual([]);
  });

  it('have no entry in the list that nothing needs', () => {
    const used = new Set(inside.map(({ from, to }) => `${folderOf(from)} → ${folderOf(to)}`));
    expect(Object.keys(FEATURE_ARROWS).filter((arrow) => !used.has(arrow))).toEqual([]);
  });
});

describe('outside libraries', () => {
  const outside = imports.filter(({ to }) => !to.startsWith('src/'));
  const nameOf = (to: string): string => (to.startsWith('node:') ? 'node:' : packageOf(to));

  it(verifies('repo.dependencies', 'are on the list of their room'), () => {
    const wrong = outside.filter(({ from, to }) => !(nameOf(to) in (OUTSIDE[roomOf(from)] ?? {})));
    expect(wrong.map(show)).toEqual([]);
  });

  it('are all used where they are listed', () => {
    const used = new Set(outside.map(({ from, to }) => `${roomOf(from)} ${nameOf(to)}`));
    const listed = Object.entries(OUTSIDE).flatMap(([room, names]) =>
      Object.keys(names).map((name) => `${room} ${name}`),
    );
    expect(listed.filter((one) => !used.has(one))).toEqual([]);
  });
});

describe('imports', () => {
  it(verifies('repo.no-cycles', 'have no cycle at run time'), () => {
    const next = new Map<string, string[]>();
    for (const { from, to, typeOnly } of imports) {
      if (!typeOnly && to.startsWith('src/')) next.set(from, [...(next.get(from) ?? []), to]);
    }
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
      if (done.has(file) || trail.includes(file)) return;
      for (const to of next.get(file) ?? []) visit(to, [...trail, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('name what they import: nothing computed, nothing cast', () => {
    const computed = /\b(?:import|require)\(\s*(?!['"][^'"]+['"]\s*\))/;
    const checked = [...files, ...sourcesIn(ROOT, 'bench')];
    expect(
      checked.filter((file) =>
        computed.test(readFileSync(path.join(ROOT, file), 'utf8').replaceAll(/^\s*(\/\/|\*).*$/gm, '')),
      ),
    ).toEqual([]);
  });
});

describe('every file that is tracked', () => {
  const tracked = existsSync(path.join(ROOT, '.git'))
    ? execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' })
        .split('\0')
        .filter((file) => file !== '' && existsSync(path.join(ROOT, file)))
    : [];
  const holding = (pattern: RegExp, among: readonly string[]): string[] =>
    among.filter((file) => pattern.test(readFileSync(path.join(ROOT, file), 'utf8')));

  const NO_CLONE = 'this is no clone: git does not know the files';

  it(verifies('repo.no-disable', 'switches no rule and no type error off'), ({ skip }) => {
    skip(tracked.length === 0, NO_CLONE);
    // The brackets keep this line from finding itself.
    const switches = /(ox|es)lint[-]disable|@ts[-](ignore|nocheck)|oxfmt[-]ignore|v8[ ]ignore/;
    expect(holding(switches, tracked)).toEqual([]);
  });

  it('names no machine and no registry', ({ skip }) => {
    skip(tracked.length === 0, NO_CLONE);
    const escaped = ROOT.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
    expect(
      holding(
        new RegExp(String.raw`${escaped}\b|registry\.[a-z]+\.[a-z]+|"resolved":`),
        tracked.filter((file) => file !== 'test/architecture.test.ts'),
      ),
    ).toEqual([]);
  });
});
