import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { EVENTS, FakeNode } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

describe('events', () => {
  it(verifies('events.cli', 'are told one line each, and what others wrote can hide nothing'), async () => {
    const node = await FakeNode.start();
    const { code, stdout } = await runCli(['events'], { dataDir: node.folder });
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    const time = String.raw`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  `;
    const wanted = [
      'transfer\\.started  this machine: /srv/kai/x and 2 more to maria:inbox/$',
      'transfer\\.ended  this machine: /srv/kai/x to maria:inbox/; failed, 0 files, 20 MB, 1 failed: full\\\\u\\{202e\\}$',
      'file\\.written  maria: /home/kai/a, 5 B$',
      'file\\.failed  maria: /home/kai/b; failed: it does not fit$',
      'gap  not kept$',
    ];
    expect(lines).toHaveLength(wanted.length);
    wanted.forEach((text, at) => expect(lines[at]).toMatch(new RegExp(time + text)));
  });

  it('are one line of JSON each for programs', async () => {
    const node = await FakeNode.start();
    const { stdout } = await runCli(['events', '--json'], { dataDir: node.folder });
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(EVENTS);
  });
});
