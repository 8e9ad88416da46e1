import type { HandlersOf } from '../edge/call.ts';
import type { EventBus } from './bus.ts';

/** Binds the operation that follows events to the bus. */
export const eventHandlers = (events: EventBus): HandlersOf<'event'> => ({
  'event.follow': (input, call) => events.follow(input, call.caller),
});
