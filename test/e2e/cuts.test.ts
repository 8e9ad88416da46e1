import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Client } from '../../src/client/client.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { clientOf, connectThroughRelays, patternHash, readRun } from '../helpers/links.ts';
import { Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { NO_RELAYS, type Relay } from '../helpers/relay.ts';
import { seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const ANSWER_CUTS = LONG ? 1000 : 60;
const SHORT_REQUESTS = LONG ? 200 : 16;
const PATTERN = fileURLToPath(new URL('../fixtures/programs/pattern.mjs', import.meta.url));

let a: Machine;
let b: Machine;
let asOwner: Client;
let way: Awaited<ReturnType<typeof connectThroughRelays>>;
let toB: Relay;

const linesOf = async (name: string): Promise<string[]> => {
  const text = await readFile(join(b.home, name), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
};

const isOnline = async (): Promise<boolean> => {
  const { peers } = await asOwner.call('peer.list', {});
  return peers[0]?.status === 'online';
};

beforeAll(async () => {
  if (NO_RELAYS !== undefined) return;
  [a, b] = [
    await Machine.create('near'),
    await Machine.create('far', { extra: `rateLimits:\n  execute: ${LONG ? 250 : 50}\n` }),
  ];
  way = await connectThroughRelays(a, b, seedOfRun('cuts'));
  ({ toB } = way);
  asOwner = await clientOf(a);
}, 60_000);

afterAll(async () => {
  await way?.close();
  await a?.remove();
  await b?.remove();
}, 60_000);

beforeEach(async ({ skip }) => {
  if (NO_RELAYS !== undefined) skip(NO_RELAYS);
  toB.chaos = {};
  toB.refuses = false;
  toB.stalled = false;
  // What an earlier test planned for a connection goes with it.
  toB.cutAll();
  await until(isOnline, 10_000);
});

describe('a link that is cut', () => {
  it(verifies('show.stream-cuts', '200 times at random: the stream goes on by cursor and is identical'), async () => {
    const bytes = 30_000_000;
    const args = [PATTERN, String(bytes)];
    const pieces = asOwner.stream('job.stream', { command: process.execPath, args }, { peer: 'far' });
    await pieces.next();
    toB.chaos = { cutWithin: 200_000, maxCuts: 200 };
    toB.cutAll();
    const read = await readRun(pieces);
    expect(toB.cuts).toBe(200);
    expect(read).toMatchObject({ bytes, hash: patternHash(bytes), gaps: 0, exit: { exitCode: 0, endedBy: 'exit' } });
  });

  const often = `${ANSWER_CUTS} times at random${LONG ? '' : ' (1,000 in test:long)'} before an answer is whole`;
  it(verifies(['show.answer-cuts', 'link.once'], `${often}: the command runs once`), { timeout: 120_000 }, async () => {
    const line = 'echo ran >> answers; sleep 0.3; head -c 60000 /dev/zero | tr "\\0" x';
    const running = asOwner.call('job.execute', { command: line, shell: true }, { peer: 'far' });
    await until(async () => (await linesOf('answers')).length > 0, 5000);
    toB.chaos = { cutWithin: 30_000, maxCuts: ANSWER_CUTS };
    toB.cutAll();
    expect(await running).toMatchObject({ exitCode: 0, stdout: 'x'.repeat(60_000) });
    expect(toB.cuts).toBe(ANSWER_CUTS);
    expect(await linesOf('answers')).toEqual(['ran']);
  });

  it(
    verifies(
      'link.once',
      `somewhere in each of ${SHORT_REQUESTS} short requests: none runs twice, and each answer is true`,
    ),
    { timeout: 120_000 },
    async () => {
      const outcomes: Record<string, number> = {};
      for (let round = 0; round < SHORT_REQUESTS; round += 1) {
        toB.cutAll();
        toB.chaos = { cutWithin: 3000, maxCuts: 3 };
        const name = `short-${round}`;
        const request = { command: `echo ran >> ${name}; echo done`, shell: true };
        const outcome = await asOwner.call('job.execute', request, { peer: 'far' }).then(
          ({ stdout }) => stdout.trim(),
          (error: unknown) => (error instanceof LoopsyError ? error.error : String(error)),
        );
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        const ran = (await linesOf(name)).length;
        // What was said to be done ran once; what was said to be out of reach did not run.
        expect([outcome, ran]).toEqual([outcome, outcome === 'done' ? 1 : 0]);
      }
      console.log('short requests under cuts', outcomes);
      expect(outcomes['done']).toBeGreaterThan(SHORT_REQUESTS / 4);
    },
  );

  it('late in a long buffered run: its answer still comes, and the command ran once', async ({ skip }) => {
    skip(!LONG, 'takes 10 s: in test:long');
    const running = asOwner.call(
      'job.execute',
      { command: 'echo ran >> late; sleep 9.5; echo done', shell: true },
      { peer: 'far' },
    );
    await until(async () => (await linesOf('late')).length > 0, 5000);
    await new Promise((resolve) => setTimeout(resolve, 8800));
    toB.cutAll();
    expect(await running).toMatchObject({ exitCode: 0, stdout: 'done\n' });
    expect(await linesOf('late')).toEqual(['ran']);
  });

  it('and comes back after seconds: a stream and a buffered run go on, the command ran once', async () => {
    const line = 'echo ran >> flap; for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done';
    const stream = readRun(asOwner.stream('job.stream', { command: line, shell: true }, { peer: 'far' }));
    const buffered = asOwner.call('job.execute', { command: line, shell: true }, { peer: 'far' });
    // Looked at below, once the link is back.
    void Promise.allSettled([stream, buffered]);
    await until(async () => (await linesOf('flap')).length === 2, 5000);
    toB.refuses = true;
    toB.cutAll();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    toB.refuses = false;
    expect(await stream).toMatchObject({ bytes: 12, gaps: 0, exit: { exitCode: 0, endedBy: 'exit' } });
    expect(await buffered).toMatchObject({ exitCode: 0, stdout: '1\n2\n3\n4\n5\n6\n' });
    expect(await linesOf('flap')).toEqual(['ran', 'ran']);
  });

  it(
    'in silence, for good: who waits for a buffered run hears that its outcome is unknown',
    { timeout: 60_000 },
    async ({ skip }) => {
      skip(!LONG, 'takes 40 s: in test:long');
      const line = 'echo ran >> silent; sleep 1';
      const running = asOwner.call('job.execute', { command: line, shell: true, timeout: 0 }, { peer: 'far' });
      await until(async () => (await linesOf('silent')).length > 0, 5000);
      toB.stalled = true;
      await expect(running).rejects.toMatchObject({ error: 'outcome_unknown' });
      expect(await linesOf('silent')).toEqual(['ran']);
    },
  );

  it('in silence, for five seconds: a stream and a buffered run go on', async ({ skip }) => {
    skip(!LONG, 'takes 7 s: in test:long');
    const line = 'for i in 1 2 3 4 5 6; do echo $i; sleep 1; done';
    const stream = readRun(asOwner.stream('job.stream', { command: line, shell: true }, { peer: 'far' }));
    const buffered = asOwner.call('job.execute', { command: line, shell: true }, { peer: 'far' });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    toB.stalled = true;
    await new Promise((resolve) => setTimeout(resolve, 5000));
    toB.stalled = false;
    expect(await stream).toMatchObject({ bytes: 12, gaps: 0, exit: { exitCode: 0, endedBy: 'exit' } });
    expect(await buffered).toMatchObject({ exitCode: 0, stdout: '1\n2\n3\n4\n5\n6\n' });
  });

  it('or slow, 50 ms for each chunk: a stream is identical', async () => {
    toB.chaos = { delayMs: 50 };
    toB.cutAll();
    const args = [PATTERN, '2000000'];
    const read = await readRun(asOwner.stream('job.stream', { command: process.execPath, args }, { peer: 'far' }));
    expect(read).toMatchObject({ bytes: 2_000_000, hash: patternHash(2_000_000), gaps: 0, exit: { exitCode: 0 } });
  });

  it('does not fail a read: it is asked again', async () => {
    // Four cuts of handshakes in a row are the end of a request that was never sent.
    for (let round = 0; round < 3; round += 1) {
      toB.chaos = { cutWithin: 2500, maxCuts: 3 };
      toB.cutAll();
      for (let read = 0; toB.cuts < 3 && read < 50; read += 1) {
        expect(await asOwner.call('system.identity', {}, { peer: 'far' })).toMatchObject({ hostname: 'far' });
      }
      expect(toB.cuts).toBe(3);
    }
  });

  it(
    verifies('link.once', 'and a peer that restarted meanwhile: the outcome is unknown, and nothing runs twice'),
    async () => {
      const line = 'echo ran >> twice; sleep 20';
      const kept = readRun(asOwner.stream('job.stream', { command: line, shell: true }, { peer: 'far' }));
      // Time for its record to be written, behind the run.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const buffered = asOwner.call('job.execute', { command: line, shell: true }, { peer: 'far' });
      const stream = readRun(asOwner.stream('job.stream', { command: line, shell: true }, { peer: 'far' }));
      const ends = Promise.allSettled([buffered, stream, kept]);
      await until(async () => (await linesOf('twice')).length === 3, 5000);
      process.kill((await b.registration()).pid, 'SIGKILL');
      await b.start();
      const [ofBuffered, ofStream, ofKept] = await ends;
      expect(ofBuffered).toMatchObject({ status: 'rejected', reason: { error: 'outcome_unknown' } });
      expect(ofStream).toMatchObject({ status: 'rejected', reason: { error: 'outcome_unknown' } });
      expect(ofKept).toMatchObject({ status: 'fulfilled', value: { exit: { exitCode: null, endedBy: 'lost' } } });
      expect(await linesOf('twice')).toEqual(['ran', 'ran', 'ran']);
    },
  );
});
