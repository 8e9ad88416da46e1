import type { HandlersOf } from '../edge/call.ts';
import type { Jobs } from './service.ts';

/** Binds the operations of jobs to their service. */
export const jobHandlers = (jobs: Jobs): HandlersOf<'job'> => ({
  'job.execute': (input, call) => jobs.execute(input, call),
  'job.stream': (input, call) => jobs.stream(input, call),
  'job.list': (input, call) => jobs.list(input, call.caller),
  'job.get': (input, call) => jobs.get(input, call.caller),
  'job.output': (input, call) => jobs.output(input, call.caller),
  'job.stdin': (input, call) => jobs.stdin(input, call),
  'job.signal': (input, call) => jobs.signal(input, call.caller),
  'job.cancel': (input, call) => jobs.cancel(input, call.caller),
});
