// Messages between two nodes over TLS: how many a second, how soon each is there, and how soon all that waited is.
import { once } from 'node:events';
import net from 'node:net';

import { connectMachines, Machine } from '../test/helpers/nodes.ts';
import { until } from '../test/helpers/process-facts.ts';
import { verifies } from '../test/requirements.ts';
import { askAll, type Dialect, httpEnd, Lane, rateOf } from './lib/lanes.ts';
import { median, quantile, report } from './lib/measure.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const MS = Number(process.env['MS'] ?? 3000);
const LANES = 32;
const PACE = { everyMs: 10, messages: 1000 };
const WAITING = 10_000;
const EXTRA = 'messages:\n  perMinute: 1000000\n  loopGuard: false\n  maxBytes: 2000000000\n';
const BODY = JSON.stringify({ to: 'maria', body: 'x'.repeat(200) });

const sendOn = async (kai: Machine): Promise<Dialect> => {
  const { url, token } = await kai.registration();
  const port = Number(new URL(url).port);
  const head = `POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n`;
  const request = `${head}Content-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
  return { port, request: () => request, answerEnd: httpEnd };
};

/** Every message that comes to a machine, told as it lies there. */
class Arrivals {
  readonly at = new Map<string, number>();
  readonly order: string[] = [];
  #socket: net.Socket | undefined;

  async follow(machine: Machine): Promise<void> {
    const { url, token } = await machine.registration();
    const socket = net.connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
    this.#socket = socket;
    await once(socket, 'connect');
    socket.write(
      `GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nAccept: text/event-stream\r\n\r\n`,
    );
    let held = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const now = performance.now();
      const lines = (held + chunk).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) {
        const id = /"type":"message.received".*"id":"(\w{26})"/.exec(line)?.[1];
        if (id === undefined) continue;
        this.at.set(id, now);
        this.order.push(id);
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
  }

  stop(): void {
    this.#socket?.destroy();
  }
}

const unreadOf = async (machine: Machine): Promise<number> => {
  const status = (await (await machine.fetch('GET', '/status')).json()) as { messages: { unread: number } };
  return status.messages.unread;
};

/** Sends as fast as 32 can. @returns messages a second, by the time when the last of them lies on the other disk. */
const throughput = async (kai: Machine, maria: Machine): Promise<number> => {
  const dialect = await sendOn(kai);
  const before = await unreadOf(maria);
  const begun = performance.now();
  const rate = await rateOf(dialect, { lanes: LANES, ms: MS });
  const accepted = Math.round((rate * (performance.now() - begun)) / 1000);
  let there = 0;
  await until(async () => {
    const unread = (await unreadOf(maria)) - before;
    const isStill = unread === there && unread > accepted * 0.9;
    there = unread;
    return isStill;
  }, 60_000);
  return (there * 1000) / (performance.now() - begun);
};

const idOf = (answer: Buffer): string => /"id":"(\w{26})"/.exec(answer.toString())?.[1] ?? '';

/** One every 10 ms. @returns how long each took from the request to the other node's disk, ms. */
const latencies = async (kai: Machine, maria: Machine): Promise<number[]> => {
  const arrivals = new Arrivals();
  await arrivals.follow(maria);
  const dialect = await sendOn(kai);
  const free = await Promise.all(Array.from({ length: LANES }, () => Lane.open(dialect)));
  const sent = new Map<string, number>();
  const asked: Promise<void>[] = [];
  const begun = performance.now();
  for (let at = 0; at < PACE.messages; at += 1) {
    const wait = begun + at * PACE.everyMs - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const lane = free.pop() ?? (await Lane.open(dialect));
    const from = performance.now();
    asked.push(
      lane.ask().then((answer) => {
        sent.set(idOf(answer), from);
        free.push(lane);
      }),
    );
  }
  await Promise.all(asked);
  await until(() => Promise.resolve([...sent.keys()].every((id) => arrivals.at.has(id))), 30_000);
  for (const lane of free) lane.close();
  arrivals.stop();
  return [...sent].map(([id, from]) => (arrivals.at.get(id) ?? Number.NaN) - from);
};

/** So many are sent while the other node is down. @returns from its return to the last of them, ms. */
const catchUp = async (kai: Machine, maria: Machine): Promise<number> => {
  await maria.run(['stop']);
  await askAll(await sendOn(kai), { lanes: LANES, count: WAITING });
  await maria.start();
  const begun = performance.now();
  await until(async () => (await unreadOf(maria)) >= WAITING, 60_000);
  const ms = performance.now() - begun;
  await isComplete(maria);
  return ms;
};

/** @throws where one is missing, or there twice. */
const isComplete = async (maria: Machine): Promise<void> => {
  const ids: string[] = [];
  for (let cursor = ''; ;) {
    const page = (await (await maria.fetch('GET', `/messages?unread=true&limit=1000${cursor}`)).json()) as {
      messages: { id: string; history: { state: string; at: number }[] }[];
      nextCursor?: string;
    };
    ids.push(...page.messages.map(({ id }) => id));
    if (page.nextCursor === undefined) break;
    cursor = `&cursor=${page.nextCursor}`;
  }
  if (new Set(ids).size !== WAITING || ids.length !== WAITING) throw new Error(`${ids.length} messages are there`);
};

const machines = async (run: (kai: Machine, maria: Machine) => Promise<void>): Promise<void> => {
  const kai = await Machine.create('kai', { extra: EXTRA });
  const maria = await Machine.create('maria', { extra: EXTRA });
  try {
    await connectMachines(kai, maria);
    await until(async () => (await kai.run(['peers'])).stdout.includes('online'), 10_000);
    await run(kai, maria);
  } finally {
    await kai.remove();
    await maria.remove();
  }
};

await machines(async (kai, maria) => {
  const rates: number[] = [];
  for (let round = -1; round < ROUNDS; round += 1) {
    const rate = await throughput(kai, maria);
    if (round >= 0) rates.push(rate);
  }
  report([
    {
      name: verifies('bench.message-rate', 'messages from one disk to the other, 32 at once'),
      value: median(rates),
      unit: '/s',
      least: 3000,
      from: { worst: Math.round(Math.min(...rates)), best: Math.round(Math.max(...rates)) },
    },
  ]);
});
await machines(async (kai, maria) => {
  await latencies(kai, maria);
  const all = await latencies(kai, maria);
  report([
    {
      name: verifies('bench.message-latency', 'from the request to the disk of the other node, 100 a second, p99'),
      value: quantile(all, 0.99),
      unit: 'ms',
      most: 20,
      from: { median: Math.round(median(all) * 10) / 10, worst: Math.round(Math.max(...all)) },
    },
  ]);
});
await machines(async (kai, maria) => {
  report([
    {
      name: verifies('bench.message-catch-up', '10,000 that waited: from the return of the node to the last of them'),
      value: (await catchUp(kai, maria)) / 1000,
      unit: 's',
      most: 10,
    },
  ]);
});
