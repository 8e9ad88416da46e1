import { beforeEach, describe, expect, it } from 'vitest';

import { EventBus } from '../../../src/daemon/events/bus.ts';
import type { StreamPiece, StreamSource } from '../../../src/daemon/edge/call.ts';
import type { Event, Happening } from '../../../src/protocol/events.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

const OWNER: Caller = { kind: 'owner' };
const AGENT: Caller = { kind: 'stranger' };

let clock: FakeClock;
let bus: EventBus;

beforeEach(() => {
  clock = new FakeClock();
  bus = new EventBus(clock);
});

const written = (path: string): Happening => ({ type: 'file.written', file: { path, bytes: 1, caller: 'owner' } });
const tell = (path: string, mayHear: (caller: Caller) => boolean = () => true): void =>
  bus.publish(written(path), mayHear);

const eventIn = (piece: StreamPiece | undefined): Event => JSON.parse(Buffer.from(piece?.bytes ?? []).toString());
const pathIn = (piece: StreamPiece | undefined): string => {
  const event = eventIn(piece);
  return event.type === 'file.written' ? event.file.path : event.type;
};
const pathsOf = async (source: StreamSource, count: number): Promise<string[]> => {
  const paths: string[] = [];
  while (paths.length < count) paths.push(pathIn(await source.next()));
  return paths;
};

describe('what happens on a node', () => {
  it(verifies('events.follow', 'is heard in its order, by those who follow from then on'), async () => {
    tell('before');
    const source = bus.follow({}, OWNER);
    const waiting = source.next();
    tell('one');
    tell('two');
    expect(eventIn(await waiting)).toEqual({ ...written('one'), at: clock.now() });
    expect(pathIn(await source.next())).toBe('two');
  });

  it('is heard behind a cursor by one who was away', async () => {
    const source = bus.follow({}, OWNER);
    tell('seen');
    const cursor = (await source.next())?.cursor;
    source.close();
    tell('missed');
    expect(await pathsOf(bus.follow({ since: cursor }, OWNER), 1)).toEqual(['missed']);
  });

  it(verifies('events.scope', 'is heard by nobody who may not see what it is about'), async () => {
    const source = bus.follow({}, AGENT);
    tell('secret', (caller) => caller.kind === 'owner');
    tell('common');
    expect(await pathsOf(source, 1)).toEqual(['common']);
  });

  it(verifies('events.gap', 'that a slow reader missed is said, and costs the publisher nothing'), async () => {
    const source = bus.follow({}, OWNER);
    for (let at = 0; at < 3000; at += 1) tell(String(at));
    expect(await pathsOf(source, 2)).toEqual(['gap', String(3000 - 1024)]);
    expect((await pathsOf(source, 1023)).at(-1)).toBe('2999');
  });

  it('in an earlier start of the node is said to be missed, whichever way the clock went', async () => {
    const source = bus.follow({}, OWNER);
    tell('old');
    const since = (await source.next())?.cursor;
    for (const ms of [1000, -86_400_000]) {
      const later = new FakeClock(clock.now() + ms);
      bus = new EventBus(later);
      tell('new');
      expect(await pathsOf(bus.follow({ since }, OWNER), 2)).toEqual(['gap', 'new']);
    }
  });

  it(verifies('attack.shares', 'is followed by so many of one caller, whatever others have open'), async () => {
    const key: Caller = { kind: 'key', name: 'ci', grant: grantOfLevel('observe') };
    for (let count = 0; count < 32; count += 1) bus.follow({}, key);
    expect(() => bus.follow({}, key)).toThrow('key:ci has 32 streams of events open');
    const sources = Array.from({ length: 256 }, () => bus.follow({}, OWNER));
    expect(() => bus.follow({}, OWNER)).toThrow('256');
    sources[0]?.close();
    bus.follow({}, OWNER).close();
    const waiting = sources[1]?.next();
    await bus.stop();
    expect(await waiting).toBeUndefined();
  });
});
