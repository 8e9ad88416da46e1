import type { HandlersOf } from '../edge/call.ts';
import { broadcast, type BroadcastParts } from './broadcast.ts';
import type { Leases } from './leases.ts';
import type { Context } from './service.ts';

/** Binds the operations on shared keys and values. */
export const contextHandlers = (context: Context, peers: BroadcastParts): HandlersOf<'context'> => ({
  'context.set': (input, call) => context.set(input, call),
  'context.get': (input) => context.get(input),
  'context.delete': (input) => context.delete(input),
  'context.list': (input) => context.list(input),
  'context.watch': (input, call) => context.watch(input, call),
  'context.broadcast': (input, call) => broadcast(input, call, peers),
});

/** Binds the operations on leases. */
export const leaseHandlers = (leases: Leases): HandlersOf<'lease'> => ({
  'lease.acquire': (input, call) => leases.acquire(input, call),
  'lease.renew': (input, call) => leases.renew(input, call),
  'lease.release': (input, call) => leases.release(input, call),
  'lease.list': (input) => leases.list(input),
});
