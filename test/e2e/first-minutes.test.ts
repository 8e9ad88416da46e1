import { mkdir, readFile, writeFile } from 'node:fs/promises';

import { describe, expect, it, onTestFinished } from 'vitest';

import { Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

/** A machine that ends with the test. */
const machineOf = async (...args: Parameters<typeof Machine.create>): Promise<Machine> => {
  const machine = await Machine.create(...args);
  onTestFinished(() => machine.remove());
  return machine;
};

describe('who comes from loopsy 1', () => {
  it(
    verifies(['config.import', 'config.v1'], 'is told what to say, says it, and has a node with their settings'),
    async () => {
      const machine = await machineOf('import', { start: false });
      const port = /port: (\d+)/.exec(await readFile(machine.path('config.yaml'), 'utf8'))?.[1] ?? '';
      await writeFile(
        machine.path('config.yaml'),
        `server:\n  port: ${port}\n  host: 127.0.0.1\nauth:\n  apiKey: old\n`,
      );
      await mkdir(machine.path('tls'), { recursive: true });
      await writeFile(machine.path('tls', 'key.pem'), 'the key of loopsy 1');
      const refused = await machine.run(['start']);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('`loopsy init --import`')]);
      const { code, stdout } = await machine.run(['init', '--import']);
      expect([code, stdout]).toEqual([0, expect.stringContaining('auth.apiKey: a new key was made')]);
      expect(stdout).toContain(`kept as ${machine.path('config.yaml.loopsy1')}`);
      await machine.start();
      expect(await machine.json(['status'])).toMatchObject({ port: Number(port), tls: true });
      expect(await machine.json(['init', '--import'])).toMatchObject({ created: false });
    },
  );
});
