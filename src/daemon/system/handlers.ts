import type { HandlersOf } from '../edge/call.ts';
import { type DoctorParts, examine } from './doctor.ts';
import { describeApi } from './openapi.ts';
import type { System } from './service.ts';

/** The operations on the node itself. `stop` begins the end; the answer leaves before it. */
export const systemHandlers = (system: System, doctor: DoctorParts, stop: () => void): HandlersOf<'system'> => ({
  'system.health': () => system.health(),
  'system.status': () => system.status(),
  'system.identity': () => system.facts(),
  'system.doctor': () => examine(doctor),
  'system.openapi': () => describeApi(),
  'system.stop': () => {
    stop();
    const { detached, held } = system.status().jobs;
    return { success: true, pid: process.pid, detached: detached - held, held };
  },
});
