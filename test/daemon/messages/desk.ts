import { onTestFinished } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import { type Carrier, Undelivered } from '../../../src/daemon/messages/courier.ts';
import type { MessageSettings } from '../../../src/daemon/messages/parts.ts';
import { Messages } from '../../../src/daemon/messages/service.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Happening } from '../../../src/protocol/events.ts';
import type { Message, MessageState } from '../../../src/protocol/messages.ts';
import { rowOf } from '../../../src/protocol/operations.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { KeptLog } from '../../store/open.ts';

export const OWNER: Caller = { kind: 'owner' };
export const agent = (label: string): Caller => ({ kind: 'agent', label, grant: grantOfLevel('full', 'all') });
export const CI: Caller = { kind: 'key', name: 'ci', grant: grantOfLevel('collaborate', 'all') };

/** A node over its link. */
export const peer = (nodeId: string): Caller => ({
  kind: 'peer',
  machineId: nodeId,
  nodeId,
  grant: grantOfLevel('full'),
});

/** What a handler is told of a call. */
export const callBy = (caller: Caller, signal: AbortSignal = new AbortController().signal): Call => ({
  operation: 'message.send',
  caller,
  requestId: '0',
  digest: '',
  resumable: false,
  signal,
  announce: () => undefined,
  note: () => undefined,
});

/** How a node's way to another one is at this moment. */
interface Way {
  /** False: it is known to be away. */
  online: boolean;
  /** It is no peer any more. */
  isGone?: boolean;
  /** Called with what is handed over, before it arrives; may throw what keeps it. */
  before: (what: unknown) => void;
  /** Called when it lies there, before the answer arrives; may throw. */
  behind: (what: unknown) => void;
}

/** One node's mail, and what it has told. */
export interface Desk {
  readonly name: string;
  readonly nodeId: string;
  readonly messages: Messages;
  readonly store: Store;
  readonly events: Happening[];
  readonly way: Way;
  /** What the way to it was asked for. */
  readonly handed: unknown[];
  readonly log: KeptLog;
  settings: MessageSettings;
  /** What the other node's answer becomes on its way. */
  answers: (answer: unknown) => unknown;
  send(
    to: string | undefined,
    body: string,
    ...more: [Partial<Parameters<Messages['send']>[0]>?, Caller?]
  ): Promise<string>;
  /** The ids that wait for a reader, oldest first. */
  waiting(caller?: Caller, as?: string): Message[];
  take(id: string, caller?: Caller, as?: string): Promise<Message>;
  state(id: string): MessageState;
  steps(id: string): MessageState[];
  restart(): Promise<void>;
  /** Ends at once, as `kill -9` does it: nothing of it goes on. */
  kill(): void;
  /** Called before and behind each commit and each handing over; what it kills ends there. */
  fault: (point: string) => void;
  start(): Promise<void>;
  /** Asks the node something over a link, which is cut when it dies. */
  ask<Answer>(run: () => Promise<Answer>): Promise<Answer>;
}

/** One life of a node: what it does after its end does not happen. */
interface Life {
  ended: boolean;
  /** Told when it ends. */
  readonly mourners: Set<() => void>;
}

const newLife = (): Life => ({ ended: false, mourners: new Set() });

const never = <Value>(): Promise<Value> => new Promise(() => undefined);

export const DEFAULTS: MessageSettings = {
  ttl: 604_800,
  perMinute: 120,
  maxChain: 32,
  loopGuard: true,
  maxBytes: 1_000_000,
};

/** The cut that leaves it open whether it arrived. */
export const cut = (): never => {
  throw new Undelivered(new Error('the connection was cut'), true);
};

const idOf = (name: string): string => (name.charAt(0) + '2'.repeat(31)).slice(0, 32);

/** Two nodes, kai and maria, who trust each other: what is handed over goes through the schemas of the table. */
export const twoDesks = async (
  settings: Partial<MessageSettings> = {},
  openStore: (clock: FakeClock, name: string) => Store = (clock) => openMemoryStore({ clock }),
): Promise<{ kai: Desk; maria: Desk; clock: FakeClock }> => {
  const clock = new FakeClock();
  const desks = new Map<string, Desk>();
  const make = async (name: string, other: string): Promise<Desk> => {
    const desk = deskOf(name, { other, clock, desks, settings, store: openStore(clock, name) });
    desks.set(name, desk);
    return desk;
  };
  const kai = await make('kai', 'maria');
  const maria = await make('maria', 'kai');
  for (const desk of desks.values()) await desk.messages.start();
  onTestFinished(async () => {
    for (const desk of desks.values()) {
      await desk.messages.stop();
      await desk.store.close();
    }
  });
  return { kai, maria, clock };
};

interface DeskParts {
  readonly other: string;
  readonly clock: FakeClock;
  readonly desks: ReadonlyMap<string, Desk>;
  readonly settings: Partial<MessageSettings>;
  readonly store: Store;
}

const deskOf = (name: string, { other, clock, desks, settings, store }: DeskParts): Desk => {
  const nodeId = idOf(name);
  const events: Happening[] = [];
  const handed: unknown[] = [];
  const log = new KeptLog();
  const way: Way = { online: true, before: () => undefined, behind: () => undefined };
  const there = (): Desk => {
    const desk = desks.get(other);
    if (desk === undefined) throw new Error(`there is no ${other}`);
    return desk;
  };
  let life = newLife();
  /** Does it, with a fault point on either side. */
  const guarded = async <Value>(mine: Life, point: string, run: () => Promise<Value>): Promise<Value> => {
    if (!mine.ended) desk.fault(`before ${point}`);
    if (mine.ended) return never();
    const value = await run();
    if (!mine.ended) desk.fault(`behind ${point}`);
    return mine.ended ? never() : value;
  };
  const hand = async <Answer>(
    id: 'message.deliver' | 'message.receipts',
    input: unknown,
    take: (desk: Desk, parsed: never) => Promise<Answer>,
  ): Promise<Answer> => {
    handed.push(input);
    way.before(input);
    const parsed = rowOf(id).input.parse(JSON.parse(JSON.stringify(input)));
    const mine = life;
    const answer = await guarded(mine, id, () => there().ask(() => take(there(), parsed as never)));
    way.behind(input);
    return JSON.parse(JSON.stringify(desk.answers(answer))) as Answer;
  };
  /** The store of one life. */
  const storeOf = (mine: Life): Store =>
    new Proxy(store, {
      get: (target, field) => {
        if (field === 'commit')
          return (...args: Parameters<Store['commit']>) => guarded(mine, 'commit', () => target.commit(...args));
        const value: unknown = Reflect.get(target, field);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  const carrier: Carrier = {
    isOnline: () => (way.isGone === true ? undefined : way.online),
    nameOf: (id) => (way.isGone === true ? id : other),
    deliver: (_, batch) =>
      hand('message.deliver', batch, (desk, parsed) => desk.messages.deliver(parsed, callBy(peer(nodeId)))),
    receipts: (_, receipts) =>
      hand('message.receipts', receipts, (desk, parsed) => desk.messages.receive(parsed, callBy(peer(nodeId)))),
  };
  const make = (): Messages =>
    new Messages({
      store: storeOf(life),
      clock,
      log,
      events: { publish: (happening) => void events.push(happening) },
      settings: () => desk.settings,
      names: {
        nodeId,
        own: () => name,
        nameOf: (id) => (id === idOf(other) ? other : undefined),
        resolve: (wanted) => {
          if (wanted === name || wanted === nodeId || wanted === 'localhost') return undefined;
          if (wanted === other || wanted === idOf(other)) return { nodeId: idOf(other), name: other };
          throw new LoopsyError('peer_not_found', { message: `there is no peer ${wanted}; known: ${other}` });
        },
      },
      carrier,
      peers: () => [{ name: other, status: way.online ? 'online' : 'offline' }],
      labels: () => [],
    });
  let messages = make();
  const desk: Desk = {
    settings: { ...DEFAULTS, ...settings },
    name,
    nodeId,
    get messages() {
      return messages;
    },
    store,
    events,
    way,
    handed,
    log,
    send: async (to, body, ...[more = {}, by = OWNER]): Promise<string> => {
      const { id } = await messages.send({ body, ...(to === undefined ? {} : { to }), ...more }, callBy(by));
      return id;
    },
    waiting: (by: Caller = OWNER, as?: string): Message[] =>
      messages.list({ unread: true, ...(as === undefined ? {} : { as }) }, callBy(by)).messages,
    take: (id: string, by: Caller = OWNER, as?: string): Promise<Message> =>
      messages.read({ id, ...(as === undefined ? {} : { as }) }, callBy(by)),
    state: (id: string): MessageState => messages.show({ id }, callBy(OWNER)).state,
    steps: (id: string): MessageState[] => messages.show({ id }, callBy(OWNER)).history.map(({ state }) => state),
    restart: async (): Promise<void> => {
      await messages.stop();
      messages = make();
      await messages.start();
    },
    kill: (): void => {
      life.ended = true;
      for (const tell of life.mourners) tell();
    },
    fault: () => undefined,
    answers: (answer) => answer,
    ask: async <Answer>(run: () => Promise<Answer>): Promise<Answer> => {
      const mine = life;
      const cutOff = new Undelivered(new Error('the node has died'), true);
      if (mine.ended) throw cutOff;
      let tell = (): void => undefined;
      const died = new Promise<never>((_, reject) => (tell = () => reject(cutOff)));
      mine.mourners.add(tell);
      try {
        return await Promise.race([run(), died]);
      } finally {
        mine.mourners.delete(tell);
      }
    },
    start: async (): Promise<void> => {
      life = newLife();
      messages = make();
      await messages.start();
    },
  };
  return desk;
};

/** Lets everything happen that waits for nobody. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 60; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};
