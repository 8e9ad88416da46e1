import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, it, onTestFinished } from 'vitest';

import {
  loadFirst,
  openDatabase,
  orderEngines,
  withoutSqliteWarning,
  type SqliteModule,
} from '../../src/store/sqlite.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

const root = resolve(import.meta.dirname, '../..');

class Nothing {
  exec(): void {}

  prepare(): never {
    throw new Error('unused');
  }

  close(): void {}
}

const engine: SqliteModule = { DatabaseSync: Nothing };
const missing = (reason: string) => (): never => {
  throw new Error(reason);
};

describe('the engine', () => {
  it(
    verifies(
      'store.loader',
      'is the built-in one from Node 24 on, else the vendored one, on 22 the built-in one at last',
    ),
    () => {
      const builtIn = { name: 'built in', load: () => engine };
      const vendored = { name: 'vendored', load: () => engine };
      const order = (nodeMajor: number): string[] => orderEngines(nodeMajor, builtIn, vendored).map(({ name }) => name);
      expect(order(20)).toEqual(['vendored']);
      expect(order(22)).toEqual(['vendored', 'built in']);
      expect(order(24)).toEqual(['built in', 'vendored']);
      expect(order(26)).toEqual(['built in', 'vendored']);
    },
  );

  it(verifies('store.loader', 'is the first that loads, and where none does the error has every reason'), () => {
    const broken = { name: 'built in', load: missing('No such built-in module') };
    expect(loadFirst([broken, { name: 'vendored', load: () => engine }])).toBe(engine);
    expect(() => loadFirst([broken, { name: 'vendored', load: missing('wrong ELF class') }])).toThrow(
      /^no SQLite engine works with Node .* \(built in: No such built-in module; vendored: wrong ELF class\)/,
    );
  });

  it('hides its own warning and no other', () => {
    const seen: unknown[] = [];
    const emit = process.emitWarning;
    process.emitWarning = (warning: string | Error) => void seen.push(warning);
    onTestFinished(() => void (process.emitWarning = emit));
    const recording = process.emitWarning;
    const result = withoutSqliteWarning(() => {
      process.emitWarning('SQLite is an experimental feature and might change at any time', 'ExperimentalWarning');
      process.emitWarning('Fetch is an experimental feature', 'ExperimentalWarning');
      process.emitWarning('SQLite is slow');
      return 7;
    });
    expect([result, seen]).toEqual([7, ['Fetch is an experimental feature', 'SQLite is slow']]);
    expect(process.emitWarning).toBe(recording);
  });

  it('keeps characters beyond U+FFFF, and has the functions that the store needs', () => {
    const db = openDatabase(':memory:');
    const row = db.prepare<{ text: string; version: string }>('SELECT ? AS text, sqlite_version() AS version').get('🜁');
    expect(row?.text).toBe('🜁');
    expect(Number(row?.version.split('.')[1])).toBeGreaterThanOrEqual(45);
    db.close();
  });
});

describe('the vendored engine', () => {
  it('works from any folder, without node_modules, warnings or the wrong environment', async () => {
    const folder = await tempFolder();
    const target = join(folder, 'my dist ü', 'vendor', 'sqlite');
    await mkdir(join(folder, 'my dist ü'));
    const script = pathToFileURL(join(root, 'scripts/vendor-sqlite.mjs')).href;
    const run = promisify(execFile);
    await run(process.execPath, [
      '-e',
      `import(${JSON.stringify(script)}).then((m) => m.vendorSqlite(process.argv[1]))`,
      target,
    ]);
    expect((await readdir(target)).toSorted()).toEqual(['LICENSE', 'binding.cjs', 'index.cjs', 'prebuilds']);
    const platforms = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'win32-x64'];
    expect((await readdir(join(target, 'prebuilds'))).toSorted()).toEqual(platforms);
    const { stdout, stderr } = await run(
      process.execPath,
      [
        '-p',
        `new (require(${JSON.stringify(join(target, 'index.cjs'))}).DatabaseSync)(':memory:').prepare('SELECT 42 AS n').get().n`,
      ],
      { cwd: folder, env: { PATH: process.env['PATH'], LIBC: 'wrong', PREBUILDS_ONLY: '1', npm_config_arch: 'wrong' } },
    );
    expect([stdout, stderr]).toEqual(['42\n', '']);
  });
});
