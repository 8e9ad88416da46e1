import { onTestFinished } from 'vitest';

import { Leases } from '../../../src/daemon/context/leases.ts';
import { Context } from '../../../src/daemon/context/service.ts';
import type { Call, StreamSource } from '../../../src/daemon/edge/call.ts';
import type { Happening } from '../../../src/protocol/events.ts';
import type { ContextEvent } from '../../../src/protocol/context.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { FakeClock } from '../../helpers/clock.ts';

export const HERE = 'h'.repeat(32);
export const OWNER: Caller = { kind: 'owner' };
export const CLAUDE: Caller = { kind: 'agent', label: 'claude', grant: grantOfLevel('full') };
export const KAI: Caller = {
  kind: 'peer',
  machineId: 'k'.repeat(32),
  nodeId: 'k'.repeat(32),
  grant: grantOfLevel('full'),
};
export const MARIA: Caller = {
  kind: 'peer',
  machineId: 'm'.repeat(32),
  nodeId: 'm'.repeat(32),
  grant: grantOfLevel('full'),
};

/** A call of a handler. */
export const callBy = (caller: Caller, onBehalfOf?: string): Call => ({
  operation: 'context.set',
  caller,
  requestId: '0',
  digest: '',
  resumable: false,
  signal: new AbortController().signal,
  announce: () => undefined,
  note: () => undefined,
  ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
});

/** A context and its leases over a store that forgets. */
export interface Desk {
  readonly context: Context;
  readonly leases: Leases;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly events: Happening[];
}

/** Lays one out; it is cleared away behind the test. */
export const deskOf = async (
  limits = { maxBytes: 10_000, maxBytesPerPeer: 2000 },
  openStore: (clock: FakeClock) => Store = (clock) => openMemoryStore({ clock }),
): Promise<Desk> => {
  const clock = new FakeClock();
  const store = openStore(clock);
  const events: Happening[] = [];
  const publish = (happening: Happening): void => void events.push(happening);
  const context = new Context({ store, clock, nodeId: HERE, events: { publish }, limits: () => limits });
  const leases = new Leases({
    store,
    clock,
    events: { publish },
    hostname: () => 'here',
    peerName: (id) => (id === 'k'.repeat(32) ? 'kai' : undefined),
  });
  await context.start();
  await leases.start();
  onTestFinished(async () => {
    await context.stop();
    await leases.stop();
    await store.close();
  });
  return { context, leases, store, clock, events };
};

/** Reads that found nothing are the next one's. */
const PENDING = new Map<StreamSource, Promise<ContextEvent | undefined>>();

const pendingOf = (source: StreamSource): Promise<ContextEvent | undefined> => {
  const known = PENDING.get(source);
  if (known !== undefined) return known;
  const reading = source.next().then((piece) => {
    return piece === undefined ? undefined : (JSON.parse(Buffer.from(piece.bytes).toString()) as ContextEvent);
  });
  PENDING.set(source, reading);
  return reading;
};

const TURNS = 3;

/** The next event of a watch; undefined where none is there yet. */
export const nextOf = async (source: StreamSource): Promise<ContextEvent | undefined> => {
  const turns = async (): Promise<undefined> => {
    for (let turn = 0; turn < TURNS; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return undefined;
  };
  const event = await Promise.race([pendingOf(source), turns()]);
  if (event !== undefined) PENDING.delete(source);
  return event;
};

/** An event in a few words: `set a=1`, `delete b`, `ready`. */
const wordsOf = (event: ContextEvent | undefined): string => {
  switch (event?.type) {
    case 'set':
      return `set ${event.entry.key}=${event.entry.value}`;
    case 'delete':
      return `${event.expired === true ? 'expire' : 'delete'} ${event.key}`;
    default:
      return event?.type ?? '';
  }
};

/** Everything that a watch has to tell now. */
export const allOf = async (source: StreamSource): Promise<string[]> => {
  const words: string[] = [];
  for (let event = await nextOf(source); event !== undefined; event = await nextOf(source)) words.push(wordsOf(event));
  return words;
};
