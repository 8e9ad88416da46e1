import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createClient } from '../../../src/client/client.ts';
import { fetchTransport } from '../../../src/client/fetch-transport.ts';
import { Metrics } from '../../../src/daemon/system/metrics.ts';
import { ERRORS } from '../../../src/protocol/errors.ts';
import { OPERATION_IDS } from '../../../src/protocol/operations.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { verifies } from '../../requirements.ts';

/** A scrape: each sample by its name and labels. @throws where a line is none of the format. */
const parse = (text: string): Map<string, number> => {
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.slice(0, -1).split('\n')) {
    const [, name = ''] = /^# TYPE ([a-z_]+) (?:gauge|counter)$/.exec(line) ?? [];
    if (name !== '') typed.add(name);
    if (line.startsWith('# ')) continue;
    const [, metric = '', labels = '', value = ''] =
      /^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)$/.exec(line) ?? [];
    if (!typed.has(metric)) throw new Error(`not a sample: ${line}`);
    expect(Number.isFinite(Number(value))).toBe(true);
    expect(samples.has(metric + labels)).toBe(false);
    samples.set(metric + labels, Number(value));
  }
  return samples;
};

let node: InProcessNode;

beforeAll(async () => {
  node = await startNode({ name: 'counted' });
});

afterAll(async () => {
  await node?.remove();
});

const scrape = async (): Promise<Map<string, number>> => {
  const { status, headers, text } = await node.ask({ path: '/metrics', key: node.tokens.start });
  expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  return parse(text);
};

const requests = (operation: string, decision: string): string =>
  `loopsy_requests_total{operation="${operation}",decision="${decision}"}`;

describe('a scrape', () => {
  it(verifies('rest.metrics', 'counts requests by operation and decision, allowed and refused'), async () => {
    for (const key of [node.tokens.start, node.tokens.start, undefined]) await node.ask({ path: '/status', key });
    await node.ask({ path: '/no-such-thing', key: node.tokens.start });
    const samples = await scrape();
    expect(samples.get(requests('system.status', 'allowed'))).toBe(2);
    expect(samples.get(requests('system.status', 'missing_key'))).toBe(1);
    expect(samples.get(requests('unknown', 'unknown_route'))).toBe(1);
    expect((await scrape()).get(requests('system.metrics', 'allowed'))).toBe(1);
  });

  it(verifies('rest.metrics', 'has connections, jobs, peers, memory and the delay of the event loop'), async () => {
    const samples = await scrape();
    expect(samples.get('loopsy_connections')).toBeGreaterThanOrEqual(1);
    for (const state of ['active', 'queued']) expect(samples.get(`loopsy_jobs{state="${state}"}`)).toBe(0);
    for (const state of ['online', 'offline', 'unknown']) expect(samples.get(`loopsy_peers{state="${state}"}`)).toBe(0);
    expect(samples.get('loopsy_memory_bytes{kind="resident"}')).toBeGreaterThan(1_000_000);
    expect(samples.get('loopsy_uptime_seconds')).toBeGreaterThan(0);
    for (const quantile of ['0.5', '0.99', '1'])
      expect(samples.get(`loopsy_event_loop_delay_seconds{quantile="${quantile}"}`)).toBeGreaterThanOrEqual(0);
    expect([...samples.keys()].find((name) => name.startsWith('loopsy_info'))).toContain(node.identity.nodeId);
  });

  it('is for those who may see the state of the node', async () => {
    expect((await node.ask({ path: '/metrics' })).outcome).toBe('missing_key');
  });

  it('comes through the typed client as text', async () => {
    const transport = fetchTransport({ fetch, baseUrl: `http://127.0.0.1:${node.port}`, token: node.tokens.start });
    expect(parse(await createClient({ transport }).call('system.metrics', {})).size).toBeGreaterThan(5);
  });
});

describe('labels', () => {
  it(verifies('rest.metrics', 'have the values of the tables, whatever a peer calls its errors'), () => {
    const metrics = new Metrics();
    const status = node.composed.system.status();
    for (let at = 0; at < 5000; at += 1) metrics.count({ operation: `made.up-${at}`, decision: `made_up_${at}` });
    const names = [...parse(metrics.describe(status, 0)).keys()].filter((name) => name.includes('requests_total'));
    expect(names).toEqual([requests('unknown', 'other')]);
    for (const operation of OPERATION_IDS)
      for (const decision of Object.keys(ERRORS)) metrics.count({ operation, decision });
    expect(parse(metrics.describe(status, 0)).size).toBeLessThan(
      (OPERATION_IDS.length + 1) * (Object.keys(ERRORS).length + 2),
    );
  });

  it('can hold any text', () => {
    const status = { ...node.composed.system.status(), version: 'a"b\\c\nd' };
    const [info] = new Metrics().describe(status, 0).split('\n').slice(2);
    expect(info).toContain(String.raw`version="a\"b\\c\nd"`);
  });
});
