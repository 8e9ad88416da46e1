import { describe, expect, it } from 'vitest';

import type { OperationId } from '../../src/protocol/operations.ts';
import { FakeNode, FILE, GRANT, JOB, PEER, RECORD, TRANSFER } from './fake-node.ts';
import { documentOf, runCli } from './run-cli.ts';
import { verifies } from '../requirements.ts';

/** The command, its operation, the field of the answer, and a row that shows its number. */
const LISTS: readonly (readonly [line: string, id: OperationId, field: string, row: (at: number) => object])[] = [
  ['peers', 'peer.list', 'peers', (at) => ({ ...PEER, name: `row-${at}` })],
  ['jobs list --all', 'job.list', 'jobs', (at) => ({ ...JOB, command: `row-${at}` })],
  ['transfers', 'transfer.list', 'transfers', (at) => ({ ...TRANSFER, sources: [`row-${at}`] })],
  ['key list', 'key.list', 'keys', (at) => ({ name: `row-${at}`, kind: 'named', grant: GRANT })],
  ['logs', 'audit.list', 'records', (at) => ({ ...RECORD, command: `row-${at}` })],
];

/** Of runs: the last one's id. */
const cursorOf = (id: OperationId): string => (id === 'job.list' ? JOB.jobId : 'abcdefghijklmnop.12');

describe('a folder of more than one page', () => {
  it('is listed to its end, with the path that it really has', async () => {
    const page = (at: number): object => ({ path: '/home/maria', files: [{ ...FILE, name: `row-${at}` }] });
    const node = await FakeNode.start({
      'file.list': ({ input }) =>
        input['cursor'] === undefined ? { ...page(0), nextCursor: 'abcdefghijklmnop.12' } : page(1),
    });
    const { stdout } = await runCli(['ls', 'maria'], { dataDir: node.folder });
    expect(stdout).toMatch(/row-0\n.*row-1\n$/);
    const json = await runCli(['ls', 'maria', '--json'], { dataDir: node.folder });
    expect(documentOf('file.list', json)).toMatchObject({ path: '/home/maria', files: [{}, {}] });
  });
});

describe('a list of more than one page', () => {
  it.each(LISTS)('is shown to its end by loopsy %s', async (...[line, id, field, row]) => {
    const cursor = cursorOf(id);
    const rows = (from: number): object[] => Array.from({ length: 1000 }, (_, at) => row(from + at));
    const node = await FakeNode.start({
      [id]: ({ input }: { input: Record<string, unknown> }) =>
        input['cursor'] === cursor ? { [field]: [row(1000)] } : { [field]: rows(0), nextCursor: cursor },
    });
    const { code, stdout } = await runCli(line.split(' '), { dataDir: node.folder });
    expect(code).toBe(0);
    for (const at of [0, 999, 1000]) expect(stdout).toMatch(new RegExp(`row-${at}\\b`));
    expect(node.inputs(id).map((input) => input['cursor'])).toEqual([undefined, cursor]);
    const json = await runCli([...line.split(' '), '--json'], { dataDir: node.folder });
    const document = documentOf(id, json) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual([field]);
    expect(document[field]).toHaveLength(1001);
  });
});

const MARIA = PEER.nodeId;

describe('what people know by name', () => {
  it(verifies('cli.names', 'is named so in lists of jobs, by their callers'), async () => {
    const caller = (who: string): object => ({ ...JOB, caller: who });
    const jobs = [caller(`peer:${MARIA}`), caller('owner'), caller(`peer:${'c'.repeat(32)}`)];
    const node = await FakeNode.start({ 'job.list': () => ({ jobs }), 'job.get': () => jobs[0] });
    const { stdout } = await runCli(['jobs', 'list', '--all'], { dataDir: node.folder });
    expect(stdout).toMatch(/ maria +make[^]* owner +make[^]* cccccccc +make/);
    expect(stdout).not.toContain(MARIA);
    expect((await runCli(['jobs', 'show', JOB.jobId], { dataDir: node.folder })).stdout).toMatch(/^by +maria$/m);
    const own = await FakeNode.start({ 'job.list': () => ({ jobs: [caller(`peer:${'a'.repeat(32)}`)] }) });
    const there = await runCli(['jobs', 'list', '--peer', 'maria'], { dataDir: own.folder });
    expect(there.stdout).toMatch(/ this machine +make/);
  });

  it(verifies('cli.names', 'is named so where a key reaches it'), async () => {
    const grant = { ...GRANT, reach: [MARIA, 'c'.repeat(32)] };
    const node = await FakeNode.start({
      'key.list': () => ({ keys: [{ name: 'ci', kind: 'named', grant }] }),
      'key.grant': () => ({ name: 'ci', kind: 'named', grant }),
    });
    const { stdout } = await runCli(['key', 'list'], { dataDir: node.folder });
    expect(stdout).toContain('reaches maria, cccccccc');
    const granted = await runCli(['key', 'grant', 'ci', 'full', '--reach', 'maria'], { dataDir: node.folder });
    expect(granted.stdout).toContain('reaches maria, cccccccc');
    const json = await runCli(['key', 'list', '--json'], { dataDir: node.folder });
    expect(json.stdout).toContain(MARIA);
  });

  it(verifies('cli.names', 'is named so in the log'), async () => {
    const records = [{ ...RECORD, caller: `peer:${MARIA}` }];
    const node = await FakeNode.start({ 'audit.list': () => ({ records }) });
    const { stdout } = await runCli(['logs'], { dataDir: node.folder });
    expect(stdout).toContain('maria');
    expect(stdout).not.toContain(MARIA);
  });
});

describe('a grant that is over', () => {
  it(verifies('grant.expired-shown', 'gives nothing any more in lists of peers and keys'), async () => {
    const grant = { ...GRANT, expiresAt: 1_799_999_000_000, expired: true };
    const peer = { ...PEER, grant };
    const node = await FakeNode.start({
      'peer.list': () => ({ peers: [peer] }),
      'peer.show': () => peer,
      'key.list': () => ({ keys: [{ name: 'ci', kind: 'named', grant }] }),
    });
    const words = /nothing any more \(full, ended 20\d\d-/;
    for (const line of [['peers'], ['peers', 'show', 'maria'], ['key', 'list']])
      expect((await runCli(line, { dataDir: node.folder })).stdout).toMatch(words);
    const json = await runCli(['peers', '--json'], { dataDir: node.folder });
    expect(documentOf('peer.list', json)).toMatchObject({ peers: [{ grant: { expired: true } }] });
  });
});
