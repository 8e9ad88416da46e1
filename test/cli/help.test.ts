import { expect, it } from 'vitest';

import { COMMANDS, GROUPS } from '../../src/cli/commands.ts';
import { runCli } from './run-cli.ts';

it('says of every command what it said when it was agreed on', async () => {
  const lines = [[], ...Object.keys(GROUPS).map((group) => [group]), ...COMMANDS.map(({ path }) => path.split(' '))];
  const pages: string[] = [];
  for (const words of lines) {
    const { code, stdout } = await runCli([...words, '--help'], { dataDir: '/nowhere' });
    expect(code).toBe(0);
    pages.push(`$ ${['loopsy', ...words, '--help'].join(' ')}\n${stdout}`);
  }
  await expect(pages.join('\n')).toMatchFileSnapshot('help.pin.txt');
});

it('promises by a level no more than this version does', () => {
  const withLevels = COMMANDS.filter(({ details }) => details?.startsWith('observe:') === true);
  expect(withLevels.map(({ path }) => path)).toEqual(['pair', 'connect', 'peers grant', 'key add', 'key grant']);
  for (const { details = '' } of withLevels)
    for (const line of details.split('\n').filter((one) => /tasks/.test(one)))
      expect(line).toContain('(a feature to come)');
});
