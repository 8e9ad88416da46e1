import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

import type { Service } from '../../kernel/lifecycle.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { OPERATIONS } from '../../protocol/operations.ts';
import type { Status } from '../../protocol/system.ts';

/** One metric of the text exposition format. */
interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

const LOOP_RESOLUTION_MS = 20;
const QUANTILES = [0.5, 0.99, 1] as const;

/** What a node counts for those who watch it. Labels have the values of the tables, and no others. */
export class Metrics implements Service {
  readonly name = 'metrics';
  readonly #requests = new Map<string, { operation: string; decision: string; count: number }>();
  /** Since it was last asked for; it runs from the first question on, so that a node that nobody watches has no timer. */
  #loop: IntervalHistogram | undefined;

  /** Counts a request that was decided. */
  count({ operation, decision }: { operation: string; decision: string }): void {
    const labels = {
      operation: Object.hasOwn(OPERATIONS, operation) ? operation : 'unknown',
      // A peer of a newer version may have answered with an error that has no name here.
      decision: decision === 'allowed' || Object.hasOwn(ERRORS, decision) ? decision : 'other',
    };
    const key = `${labels.operation} ${labels.decision}`;
    const known = this.#requests.get(key);
    if (known === undefined) this.#requests.set(key, { ...labels, count: 1 });
    else known.count += 1;
  }

  /** All of it in the text format of Prometheus. */
  describe(status: Status, connections: number): string {
    const { peers, jobs, memory, version, nodeId } = status;
    const requests = [...this.#requests.values()].map(
      ({ count, ...labels }) => [labels, count] as const satisfies Metric['samples'][number],
    );
    return [
      gauge('info', 'Which node this is', [[{ version, node: nodeId }, 1]]),
      gauge('uptime_seconds', 'Since the node started', [[{}, status.uptime / 1000]]),
      counter('requests_total', 'Requests by operation and decision', requests),
      gauge('connections', 'Open connections', [[{}, connections]]),
      gauge('jobs', 'Runs that go on or wait', [
        [{ state: 'active' }, jobs.active],
        [{ state: 'queued' }, jobs.queued],
      ]),
      gauge('peers', 'Trusted peers', [
        [{ state: 'online' }, peers.online],
        [{ state: 'offline' }, peers.offline],
        [{ state: 'unknown' }, peers.total - peers.online - peers.offline],
      ]),
      gauge('memory_bytes', 'Memory of the node', [
        [{ kind: 'resident' }, memory.rss],
        [{ kind: 'heap' }, process.memoryUsage().heapUsed],
      ]),
      gauge('event_loop_delay_seconds', 'How late the event loop was, since the last look', this.#delays()),
    ]
      .map(textOf)
      .join('');
  }

  async start(): Promise<void> {
    // The first question begins.
  }

  async stop(): Promise<void> {
    this.#loop?.disable();
    this.#loop = undefined;
  }

  #delays(): Metric['samples'] {
    const loop = (this.#loop ??= startLoop());
    const samples = QUANTILES.map((quantile) => {
      const lateMs = loop.percentile(quantile * 100) / 1e6 - LOOP_RESOLUTION_MS;
      return [{ quantile: String(quantile) }, Math.max(0, lateMs) / 1000] as const;
    });
    loop.reset();
    return samples;
  }
}

const startLoop = (): IntervalHistogram => {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  loop.enable();
  return loop;
};

const gauge = (name: string, help: string, samples: Metric['samples']): Metric => ({
  name,
  type: 'gauge',
  help,
  samples,
});
const counter = (name: string, help: string, samples: Metric['samples']): Metric => ({
  name,
  type: 'counter',
  help,
  samples,
});

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

const textOf = ({ name, type, help, samples }: Metric): string => {
  const full = `loopsy_${name}`;
  const lines = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    return `${full}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
  });
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines, ''].join('\n');
};
