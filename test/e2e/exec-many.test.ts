import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

const PEERS = 8;
const WORK_MS = 1000;

describe('a command on eight peers', () => {
  let here: Machine;
  let there: Machine[] = [];

  beforeAll(async () => {
    here = await Machine.create('here');
    there = await Promise.all(Array.from({ length: PEERS }, (_, at) => Machine.create(`peer-${at}`)));
    for (const machine of there) await connectMachines(here, machine);
  }, 60_000);
  afterAll(() => Promise.all([here, ...there].map((machine) => machine.remove())), 60_000);

  const timeOf = async (
    ...args: string[]
  ): Promise<{ ms: number; stdout: string; stderr: string; code: number | null }> => {
    const begun = performance.now();
    const ended = await here.run(['exec', ...args]);
    return { ...ended, ms: performance.now() - begun };
  };
  const script = `setTimeout(() => console.log('done'), ${WORK_MS})`;

  it(verifies('show.exec-all', 'takes at most one and a half times as long as on the slowest alone'), async () => {
    const alone = await timeOf('peer-0', '--', process.execPath, '-e', script);
    const all = await timeOf('--all', '--', process.execPath, '-e', script);
    expect([all.code, all.stdout.match(/^peer-\d \| done$/gm)]).toEqual([
      0,
      expect.objectContaining({ length: PEERS }),
    ]);
    console.log(`exec --all over ${PEERS} nodes: ${Math.round(all.ms)} ms, alone ${Math.round(alone.ms)} ms`);
    expect(all.ms).toBeLessThanOrEqual(1.5 * alone.ms);
  });

  it(
    verifies(['show.exec-all', 'cli.exec.many'], 'is held up by none that hangs or dies, and each is named'),
    async () => {
      const [hangs, dies, denied] = there;
      if (hangs === undefined || dies === undefined || denied === undefined) throw new Error('too few machines');
      await denied.json(['peers', 'grant', 'here', 'observe']);
      const { pid: stopped } = await hangs.registration();
      const { pid: killed } = await dies.registration();
      const child = here.spawn(['exec', '--all', '--', process.execPath, '-e', `console.log('up'); ${script}`]);
      let stdout = '';
      let stderr = '';
      child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
      await new Promise<void>((resolve) => {
        child.stdout?.on('data', (piece: Buffer) => {
          stdout += piece.toString();
          if (stdout.match(/up$/gm)?.length === PEERS - 1) resolve();
        });
      });
      const begun = performance.now();
      process.kill(stopped, 'SIGSTOP');
      process.kill(killed, 'SIGKILL');
      try {
        await new Promise<void>((resolve) => {
          child.stderr?.on('data', () => /waits for peer-0/.test(stderr) && resolve());
        });
        // All others are through: it is the one that hangs that is waited for, until it ends.
        expect(stdout.match(/done$/gm)).toHaveLength(PEERS - 3);
      } finally {
        process.kill(stopped, 'SIGKILL');
      }
      const code = await new Promise((resolve) => child.once('close', resolve));
      expect([code, performance.now() - begun]).toEqual([1, expect.toSatisfy((ms: number) => ms < 15_000)]);
      expect(stderr).toMatch(/^peer-0 +(?!ok)\S/m);
      expect(stderr).toMatch(/^peer-1 +(?!ok)\S/m);
      expect(stderr).toMatch(/^peer-2 +.*(?:not allowed|may not|scope|grant)/im);
      expect(stderr.match(/^peer-\d +ok /gm)).toHaveLength(PEERS - 3);
    },
  );
});
