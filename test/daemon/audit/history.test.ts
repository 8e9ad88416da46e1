import { expect, it, onTestFinished } from 'vitest';

import { startNode } from '../../helpers/in-process-node.ts';

it('a key of level observe that asks without end cannot push its own traces out of the log of a node', async () => {
  let key = '';
  const node = await startNode({
    config: { audit: { maxBytes: 32_768, keep: 1 } },
    seed: async (trust) => {
      ({ key } = await trust.addKey('watcher', { level: 'observe' }));
    },
  });
  onTestFinished(() => node.remove());
  const ask = async (path: string, init?: RequestInit): Promise<number> => {
    const base = `http://127.0.0.1:${node.port}/api/v1`;
    const answer = await fetch(base + path, { ...init, headers: { authorization: `Bearer ${key}` } });
    await answer.arrayBuffer();
    return answer.status;
  };
  const paths = ['/status', '/peers', '/key', '/audit', '/nowhere', '/peers/nobody', '/peers?limit=none'];
  expect(await ask('/execute', { method: 'POST', body: '{"command":"rm"}' })).toBe(403);
  for (let round = 0; round < 200; round += 1) await Promise.all(paths.map((path) => ask(path)));
  await node.stop();
  const records = await node.audit();
  expect(records[0]).toMatchObject({ caller: 'key:watcher', operation: 'job.execute', decision: 'scope_missing' });
  expect(records.length).toBeLessThan(100);
  expect(records.reduce((sum, { count }) => sum + Number(count ?? 1), 0)).toBe(1 + 200 * paths.length);
});
