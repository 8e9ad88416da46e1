import { describe, expect, it } from 'vitest';

import { runningNameIn } from '../../src/trust/running-files.ts';
import { verifies } from '../requirements.ts';

const ALIASES: readonly string[] = [
  '.git',
  '.GIT',
  '.Git',
  '.git.',
  '.git ',
  '.git. .',
  '.git::$INDEX_ALLOCATION',
  '.git:x',
  '.git :x',
  'GIT~1',
  'git~12',
  'clau~100',
  '.g\u200bit',
  '.\u200cgit',
  '\u200d.git\ufeff',
  '.gi\u00adt',
  '．git',
  '․git',
  '.ｇｉｔ',
  '.ɡit'.replace('ɡ', 'g'),
  '.gıt',
  '.claude',
  'CLAUDE~1',
  'CLAUD~10',
  'CL3F2A~1',
  '.MCP.json',
  '.mcp.json.',
  'MCP~1.JSO',
  'mcp~1.jso',
  '.codex',
  'CODEX~2',
  '.gemini',
  '.vscode',
  '.vſcode',
  'VSCODE~1',
  '.envrc',
  'ENVRC~1',
  '.husKy',
  '.husky',
  'HUSKY~1',
  '.Claude\u2060',
  'gi7d29~1',
  'GI7D29~1.X',
];

const HARMLESS: readonly string[] = [
  'git',
  'gitignore',
  '.gitignore',
  '.gitattributes',
  '.github',
  'my.git',
  'x.git',
  '.git2',
  '.gitx',
  'claude',
  '.claudeignore',
  'CLAUDE.md',
  'mcp.json',
  '.mcp',
  '.mcp.json5',
  'a~1',
  'backup~',
  'file~1.txt',
  '.env',
  'envrc',
  '~',
  '.',
  '..',
  '',
  'é',
  '日本語',
  '.é',
  'husky',
  'v~1',
];

describe('names that programs run by themselves', () => {
  it.each(ALIASES)(verifies('transfers.running-files', 'are known under any alias: %j'), (name) => {
    for (const path of [name, `a/${name}`, `${name}/hooks/post-checkout`, `a\\${name}\\b`, `/home/u/${name}/x`])
      expect(runningNameIn(path), path).toBe(name);
  });

  it.each(HARMLESS)('leave others alone: %j', (name) => {
    expect(runningNameIn(`a/${name}`)).toBeUndefined();
  });

  it('are looked for in time that grows with the path', () => {
    const begun = performance.now();
    runningNameIn('.'.repeat(500_000));
    runningNameIn(`${' .'.repeat(250_000)}x`);
    runningNameIn('.g~1'.repeat(100_000));
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});
