import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { bytecodeFile } from '../../src/kernel/built-files.ts';
import { makeMissingBytecode, readCompiled } from '../../src/kernel/bytecode.ts';

const SOURCE = '(a => { const later = () => a + 1; return later(); })';
const COMPILED = { file: 'cli/one.js', flags: [], laterFlags: [] };

let dist = '';
beforeEach(async () => {
  dist = await mkdtemp(join(tmpdir(), 'loopsy-bytecode-'));
  await mkdir(join(dist, 'cli'));
  await writeFile(join(dist, 'cli', 'one.js'), SOURCE);
});
afterEach(() => rm(dist, { recursive: true, force: true }));

describe('bytecode', () => {
  it('is made where it is missing, once, and is taken by this Node', async () => {
    expect(await makeMissingBytecode(dist, [COMPILED])).toBe(1);
    const cachedData = await readFile(bytecodeFile(join(dist, 'cli', 'one.js')));
    expect(new Script(SOURCE, { cachedData }).cachedDataRejected).toBe(false);
    expect(await makeMissingBytecode(dist, [COMPILED])).toBe(0);
    expect(await readdir(join(dist, 'cli'))).toHaveLength(2);
  });

  it('of a file that can not be compiled is not made, and leaves nothing behind', async () => {
    await writeFile(join(dist, 'cli', 'one.js'), 'not } a script');
    await expect(makeMissingBytecode(dist, [COMPILED])).rejects.toThrow('SyntaxError');
    expect(await readdir(join(dist, 'cli'))).toEqual(['one.js']);
  });

  it('is wanted for what the build lists, and for nothing where there is no list', async () => {
    expect(await readCompiled(dist)).toEqual([]);
    await writeFile(join(dist, 'build.json'), JSON.stringify({ version: '1.0.0', compiled: [COMPILED] }));
    expect(await readCompiled(dist)).toEqual([COMPILED]);
  });
});
