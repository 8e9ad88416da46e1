import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { verifies } from '../requirements.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a folder of benches as `npm run bench` does. */
const bench = (scripts: Readonly<Record<string, string>>): { status: number | null; stdout: string } => {
  mkdirSync(path.join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(path.join(ROOT, '.cache', 'bench-test-'));
  try {
    const measure = path.relative(folder, path.join(ROOT, 'bench', 'lib', 'measure.ts'));
    for (const [name, text] of Object.entries(scripts))
      writeFileSync(path.join(folder, `${name}.bench.ts`), `import { report, unmeasured } from '${measure}';\n${text}`);
    const runner = path.join(ROOT, 'scripts', 'bench.mjs');
    const { status, stdout } = spawnSync(process.execPath, [runner, '--from', folder], { encoding: 'utf8' });
    return { status, stdout };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const MET = "report([{ name: 'quick [bench.a]', value: 1, unit: 'ms', most: 2 }]);";

describe('the runner of benches', () => {
  it(verifies('repo.bench', 'says that all bars are met where every one was measured'), () => {
    const { status, stdout } = bench({ one: MET, two: MET });
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^ok +1 ms +≤ 2 +quick \[bench\.a\]$/m)]);
    expect(stdout).toContain('all bars of 2 scripts are met');
  });

  it(verifies('repo.bench', 'fails where a bar is missed'), () => {
    const { status, stdout } = bench({ one: MET, slow: MET.replace('value: 1', 'value: 3') });
    expect([status, stdout]).toEqual([1, expect.stringMatching(/^MISSED +3 ms/m)]);
    expect(stdout).toContain('1 of 2 scripts misses a bar');
  });

  it(verifies('repo.bench', 'lists a bar that was not measured, with the reason, and fails: it is not met'), () => {
    const { status, stdout } = bench({
      one: MET,
      bare: "unmeasured(['faster than ssh [bench.b]'], 'no sshd here: install openssh-server');",
      nan: "report([{ name: 'memory [bench.c]', value: Number.NaN, unit: 'MB', most: 50 }]);",
    });
    expect(status).toBe(1);
    expect(stdout).not.toContain('all bars');
    expect(stdout).toMatch(/^NOT MEASURED +faster than ssh \[bench\.b\]: no sshd here: install openssh-server$/m);
    expect(stdout).toMatch(/^NOT MEASURED +memory \[bench\.c\]: /m);
    expect(stdout).toContain('2 bars were not measured: bench.b, bench.c');
  });

  it('fails where a script does', () => {
    const { status, stdout } = bench({ one: MET, broken: "throw new Error('no');" });
    expect([status, stdout]).toEqual([1, expect.stringContaining('FAILED  broken: exit code 1')]);
  });
});
