import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
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
      'lease\\.changed  deploy acquired, held by maria$',
      'message\\.received  01j8zq0v3m8k2t4n6p8r0s2v6z from maria#codex$',
      'message\\.state  01j8zq0v3m8k2t4n6p8r0s2v6z to maria: read$',
      'message\\.rest  kai and maria#codex wrote too much too fast: both rest for 5 min$',
      'gap  not kept$',
    ];
    expect(lines).toHaveLength(wanted.length);
    wanted.forEach((text, at) => expect(lines[at]).toMatch(new RegExp(time + text)));
  });

  it(verifies('events.cli', 'are followed over a restart of the node, behind the last one that was told'), async () => {
    const clock = new FakeClock();
    const node = await FakeNode.start();
    const { port } = node;
    const [first, second] = EVENTS;
    node.on('event.follow', ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`id: 7\ndata: ${JSON.stringify(first)}\n\n`);
      node.on('event.follow', ({ response: next }) => {
        next.writeHead(200, { 'content-type': 'text/event-stream' });
        next.end(`id: 8\ndata: ${JSON.stringify(second)}\n\n`);
      });
      setTimeout(() => node.close(), 20);
    });
    const following = runCli(['events', '--json'], {
      dataDir: node.folder,
      clock,
      onReady: (_, __, errors) =>
        void (async () => {
          while (!errors().includes('the node is away')) await setImmediate();
          node.server.listen(port, '127.0.0.1');
        })(),
    });
    while (node.inputs('event.follow').length === 0) await setImmediate();
    const { code, stdout } = await driveClock(clock, following);
    expect([code, stdout]).toEqual([0, `${JSON.stringify(first)}\n${JSON.stringify(second)}\n`]);
    expect(node.inputs('event.follow').at(-1)).toMatchObject({ since: expect.anything() });
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
