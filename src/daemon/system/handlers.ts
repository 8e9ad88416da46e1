import type { HandlersOf } from '../edge/call.ts';
import { type DoctorParts, examine } from './doctor.ts';
import { describeApi } from './openapi.ts';
import type { Metrics } from './metrics.ts';
import type { System } from './service.ts';

/** What the operations on the node itself need beside its facts. */
export interface SystemHandlerParts {
  readonly doctor: DoctorParts;
  readonly metrics: Metrics;
  /** Connections that are open. */
  readonly connections: () => number;
  /** Begins the end; the answer leaves before it. */
  readonly stop: () => void;
}

/** The operations on the node itself. */
export const systemHandlers = (
  system: System,
  { doctor, metrics, connections, stop }: SystemHandlerParts,
): HandlersOf<'system'> => ({
  'system.health': () => system.health(),
  'system.status': () => system.status(),
  'system.identity': () => system.facts(),
  'system.doctor': () => examine(doctor),
  'system.openapi': () => describeApi(),
  'system.metrics': () => metrics.describe(system.status(), connections()),
  'system.stop': () => {
    stop();
    const { detached, held } = system.status().jobs;
    return { success: true, pid: process.pid, detached: detached - held, held };
  },
});
