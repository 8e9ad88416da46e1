// Shared keys and values beside redis (each write flushed), the key-value store of NATS, and an empty route of fastify;
// then the same with a thousand times more entries, and a thousand watchers.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

import { systemClock } from '../src/kernel/clock.ts';
import { openStore } from '../src/store/engine.ts';
import { encodeRecord } from '../src/daemon/context/record.ts';
import { Machine } from '../test/helpers/nodes.ts';
import { until } from '../test/helpers/process-facts.ts';
import { KeptLog } from '../test/store/open.ts';
import { verifies } from '../test/requirements.ts';
import { serveEmptyRoute } from './lib/empty-route.ts';
import { type Dialect, httpEnd, rateOf } from './lib/lanes.ts';
import { median, report, unmeasured } from './lib/measure.ts';
import { startNats, startRedis } from './lib/stores.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const MS = Number(process.env['MS'] ?? 2000);
const LANES = 32;
const VALUE = 'x'.repeat(100);
const EXTRA = 'context:\n  maxBytes: 2000000000\nrateLimits:\n  context: 1000000\n';
const SERVE = 'serve-empty-route';

const keyOf = (at: number): string => `bench/${String(at).padStart(7, '0')}`;
const randomKey = (entries: number): string => keyOf(Math.floor(Math.random() * entries));

/** How a key is set and read on a node. */
const dialectsOf = async (machine: Machine, entries: number): Promise<Record<'put' | 'get' | 'list', Dialect>> => {
  const { url, token } = await machine.registration();
  const port = Number(new URL(url).port);
  const head = (method: string, path: string): string =>
    `${method} /api/v1${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n`;
  const body = JSON.stringify({ value: VALUE });
  const key = (): string => encodeURIComponent(randomKey(entries));
  return {
    put: {
      port,
      request: () =>
        `${head('PUT', `/context/${key()}`)}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      answerEnd: httpEnd,
    },
    get: { port, request: () => `${head('GET', `/context/${key()}`)}\r\n`, answerEnd: httpEnd },
    list: { port, request: () => `${head('GET', `/context?limit=100&cursor=${key()}`)}\r\n`, answerEnd: httpEnd },
  };
};

/** Rates of each case, round by round, so that whatever else the machine does falls on all of them. */
const rates = async <Name extends string>(
  cases: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> => {
  // The keys of the record are the names.
  const names = Object.keys(cases) as Name[];
  const found = Object.fromEntries(names.map((name) => [name, [] as number[]])) as unknown as Record<Name, number[]>;
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const name of names) {
      const rate = await cases[name]();
      if (round >= 0) found[name].push(rate);
    }
  }
  return found;
};

const ratio = (ours: readonly number[], theirs: readonly number[]): number =>
  median(ours.map((rate, at) => rate / (theirs[at] ?? Number.NaN)));

const rounded = (found: Readonly<Record<string, readonly number[]>>): Record<string, number> =>
  Object.fromEntries(Object.entries(found).map(([name, all]) => [name, Math.round(median(all))]));

/** A machine whose context has so many entries already. */
const filledMachine = async (entries: number): Promise<Machine> => {
  const machine = await Machine.create(`bench-${entries}`, { extra: EXTRA });
  await machine.run(['stop']);
  const store = openStore({ file: machine.path('loopsy.db'), clock: systemClock, log: new KeptLog() });
  const now = Date.now();
  const value = encodeRecord({ fromNodeId: 'x'.repeat(32), createdAt: now, updatedAt: now }, VALUE);
  for (let at = 0; at < entries; at += 1000) {
    const count = Math.min(1000, entries - at);
    await store.commit(
      Array.from({ length: count }, (_, more) => ({ put: `ctx/${keyOf(at + more)}`, value, account: 'ctx/here' })),
    );
  }
  await store.close();
  await machine.start();
  return machine;
};

const measureRates = async (): Promise<void> => {
  const machine = await filledMachine(1000);
  const redis = await startRedis(VALUE, () => randomKey(1000));
  const nats = await startNats(VALUE, () => randomKey(1000));
  const child = fork(fileURLToPath(import.meta.url), [SERVE], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  try {
    if (redis === undefined || nats === undefined)
      return unmeasured(['context beside redis and NATS'], 'redis-server or nats-server is not installed');
    const [port] = await once(child.stdout ?? child, 'data');
    const empty: Dialect = {
      port: Number(port),
      request: () => 'GET /empty HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
      answerEnd: httpEnd,
    };
    const { put, get } = await dialectsOf(machine, 1000);
    const at32 = { lanes: LANES, ms: MS };
    const found = await rates({
      put: () => rateOf(put, at32),
      redis: () => rateOf(redis.dialect, at32),
      nats: () => rateOf(() => nats.dialect, at32),
      get: () => rateOf(get, at32),
      empty: () => rateOf(empty, at32),
    });
    const from = rounded(found);
    report([
      {
        name: verifies('bench.context-put-redis', 'durable PUT, 32 at once / redis with appendfsync always'),
        value: ratio(found.put, found.redis),
        unit: 'ratio',
        least: 0.35,
        from,
      },
      {
        name: verifies('bench.context-put-nats', 'durable PUT, 32 at once / NATS KV'),
        value: ratio(found.put, found.nats),
        unit: 'ratio',
        least: 0.7,
      },
      {
        name: verifies('bench.context-get', 'GET, 32 at once / an empty route of fastify'),
        value: ratio(found.get, found.empty),
        unit: 'ratio',
        least: 0.6,
      },
    ]);
  } finally {
    child.kill();
    await machine.remove();
    await redis?.stop();
    await nats?.stop();
  }
};

const SIZES = [1, 1000, 100_000, 1_000_000];

const FLAT = {
  put: verifies('bench.context-flat-put', 'PUT: the fastest number of entries, of 1 to 1,000,000, / the slowest'),
  get: verifies('bench.context-flat-get', 'GET: the same'),
  list: verifies('bench.context-flat-list', 'a page of 100: the same, of 1,000 to 1,000,000'),
};

const measureSizes = async (): Promise<void> => {
  const machines: Machine[] = [];
  try {
    for (const size of SIZES) machines.push(await filledMachine(size));
    const all = await Promise.all(machines.map((machine, at) => dialectsOf(machine, SIZES[at] ?? 1)));
    for (const kind of ['put', 'get', 'list'] as const) {
      const found = await rates(
        Object.fromEntries(
          all.map((dialects, at) => [
            `${SIZES[at]}`,
            () => rateOf(dialects[kind], { lanes: kind === 'list' ? 1 : LANES, ms: MS / 2 }),
          ]),
        ),
      );
      // A list of one entry is no page.
      const compared = Object.values(found).slice(kind === 'list' ? 1 : 0);
      const medians = compared.map((all) => median(all));
      report([
        {
          name: FLAT[kind],
          value: Math.max(...medians) / Math.min(...medians),
          unit: 'ratio',
          most: 1.5,
          from: rounded(found),
        },
      ]);
    }
  } finally {
    for (const machine of machines) await machine.remove();
  }
};

const WATCHERS = 1000;
/** One caller has so many connections at most. */
const OF_EACH = 250;

const measureWatchers = async (): Promise<void> => {
  const machine = await Machine.create('bench-watched', { extra: EXTRA });
  const sockets: net.Socket[] = [];
  try {
    const { url, token: owner } = await machine.registration();
    const port = Number(new URL(url).port);
    const tokens = [owner];
    while (tokens.length * OF_EACH < WATCHERS) {
      const grant = { level: 'collaborate' };
      const added = await (await machine.fetch('POST', '/keys', { name: `watcher-${tokens.length}`, grant })).json();
      tokens.push((added as { key: string }).key);
    }
    let told = 0;
    let first = 0;
    let last = 0;
    const watch = async (token = owner): Promise<net.Socket> => {
      const socket = net.connect({ host: '127.0.0.1', port });
      await once(socket, 'connect');
      socket.write(
        `GET /api/v1/context?watch=true&key=bench%2F0000000 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nAccept: text/event-stream\r\n\r\n`,
      );
      sockets.push(socket);
      return socket;
    };
    for (let at = 0; at < WATCHERS; at += 50) {
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          const socket = await watch(tokens[Math.floor(at / OF_EACH)]);
          await once(socket, 'data');
          socket.on('data', (chunk: Buffer) => {
            if (!chunk.includes('"type":"set"')) return;
            const now = performance.now();
            if (told === 0) first = now;
            told += 1;
            last = now;
          });
        }),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { put } = await dialectsOf(machine, 1);
    const spreads: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      told = 0;
      await rateOf(put, { lanes: 1, ms: 1 });
      await until(() => Promise.resolve(told >= WATCHERS), 5000);
      spreads.push(last - first);
    }
    report([
      {
        name: verifies('bench.context-watchers', 'from the first of 1,000 watchers that is told to the last'),
        value: median(spreads),
        unit: 'ms',
        most: 100,
        from: { worst: Math.round(Math.max(...spreads)) },
      },
    ]);
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const alone: number[] = [];
    const beside: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      alone.push(await rateOf(put, { lanes: LANES, ms: MS }));
      const deaf = await watch();
      deaf.pause();
      beside.push(await rateOf(put, { lanes: LANES, ms: MS }));
      deaf.destroy();
    }
    report([
      {
        name: verifies('bench.context-deaf', 'PUT beside a watcher that does not read / alone'),
        value: ratio(beside, alone),
        unit: 'ratio',
        least: 0.85,
        from: rounded({ alone, beside }),
      },
    ]);
  } finally {
    for (const socket of sockets) socket.destroy();
    await machine.remove();
  }
};

if (process.argv[2] === SERVE) await serveEmptyRoute();
else {
  const only = process.env['ONLY'];
  if (only === undefined || only === 'rates') await measureRates();
  if (only === undefined || only === 'sizes') await measureSizes();
  if (only === undefined || only === 'watchers') await measureWatchers();
}
