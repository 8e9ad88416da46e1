import { describe, expect, it } from 'vitest';

import type { OperationId } from '../../src/protocol/operations.ts';
import { FakeNode, GRANT, JOB, PEER, RECORD } from './fake-node.ts';
import { documentOf, runCli } from './run-cli.ts';

/** The command, its operation, the field of the answer, and a row that shows its number. */
const LISTS: readonly (readonly [line: string, id: OperationId, field: string, row: (at: number) => object])[] = [
  ['peers', 'peer.list', 'peers', (at) => ({ ...PEER, name: `row-${at}` })],
  ['jobs list --all', 'job.list', 'jobs', (at) => ({ ...JOB, command: `row-${at}` })],
  ['key list', 'key.list', 'keys', (at) => ({ name: `row-${at}`, kind: 'named', grant: GRANT })],
  ['logs', 'audit.list', 'records', (at) => ({ ...RECORD, command: `row-${at}` })],
];

const CURSOR = 'abcdefghijklmnop.12';

describe('a list of more than one page', () => {
  it.each(LISTS)('is shown to its end by loopsy %s', async (...[line, id, field, row]) => {
    const rows = (from: number): object[] => Array.from({ length: 1000 }, (_, at) => row(from + at));
    const node = await FakeNode.start({
      [id]: ({ input }: { input: Record<string, unknown> }) =>
        input['cursor'] === CURSOR ? { [field]: [row(1000)] } : { [field]: rows(0), nextCursor: CURSOR },
    });
    const { code, stdout } = await runCli(line.split(' '), { dataDir: node.folder });
    expect(code).toBe(0);
    for (const at of [0, 999, 1000]) expect(stdout).toMatch(new RegExp(`row-${at}\\b`));
    expect(node.inputs(id).map(({ cursor }) => cursor)).toEqual([undefined, CURSOR]);
    const json = await runCli([...line.split(' '), '--json'], { dataDir: node.folder });
    const document = documentOf(id, json) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual([field]);
    expect(document[field]).toHaveLength(1001);
  });
});
