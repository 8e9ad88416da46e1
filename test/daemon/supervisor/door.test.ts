import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { LinkLost, SupervisorLink } from '../../../src/daemon/jobs/supervisor-link.ts';
import {
  lineOf,
  type SupervisorEntry,
  type WireAsked,
  type WireNotice,
  wireProof,
} from '../../../src/daemon/jobs/wire.ts';
import { Door } from '../../../src/daemon/supervisor/door.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

const SECRET = 'ab'.repeat(32);

interface Opened {
  readonly entry: SupervisorEntry;
  readonly door: Door;
  readonly asked: WireAsked[];
  readonly clock: FakeClock;
}

const openDoor = async (carryOut: (request: WireAsked) => Promise<object> = async () => ({})): Promise<Opened> => {
  const socket = join(await tempFolder(), 's.sock');
  const asked: WireAsked[] = [];
  const clock = new FakeClock();
  const door = new Door({
    socket,
    secret: SECRET,
    clock,
    platform: process.platform,
    carryOut: (request) => {
      asked.push(request);
      return carryOut(request);
    },
    onLeft: () => undefined,
  });
  await door.open();
  onTestFinished(() => door.close());
  const entry = { v: 1, id: 'i', pid: 1, startedAt: 0, socket, secret: SECRET, version: '2' } as const;
  return { entry, door, asked, clock };
};

const linkTo = (entry: SupervisorEntry, onNotice: (notice: WireNotice) => void = () => undefined) =>
  SupervisorLink.open(entry, { clock: systemClock, onNotice, onLost: () => undefined });

/** A connection by hand; `heard` is what came, `closed` resolves when it was closed. */
const visit = async (path: string): Promise<{ socket: Socket; heard: () => string; closed: Promise<unknown> }> => {
  const socket = connect(path);
  let heard = '';
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  await once(socket, 'data');
  return { socket, heard: () => heard, closed };
};

const nonceOf = (text: string): string => (JSON.parse(text) as { nonce: string }).nonce;

describe('a supervisor’s door', () => {
  it('serves whoever has the secret: answers, errors, notices', async () => {
    const { entry, door } = await openDoor(async ({ do: what }) => {
      if (what === 'go') throw new LoopsyError('job_not_found', { message: 'not here' });
      return { runs: [] };
    });
    const notices: WireNotice[] = [];
    const link = await linkTo(entry, (notice) => notices.push(notice));
    expect(await link.ask({ do: 'list' })).toMatchObject({ runs: [] });
    await expect(link.ask({ do: 'go', jobId: 'x' })).rejects.toMatchObject({
      error: 'job_not_found',
      message: 'not here',
    });
    door.tell({ notice: 'output', jobId: 'x', end: 4, truncated: false });
    await link.ask({ do: 'list' });
    expect(notices).toEqual([{ notice: 'output', jobId: 'x', end: 4, truncated: false }]);
    link.close();
    await expect(link.ask({ do: 'list' })).rejects.toThrow(LinkLost);
  });

  it('is no other user’s', async ({ skip }) => {
    if (process.platform === 'win32') return skip('pipes have no modes');
    const { entry } = await openDoor();
    expect((await stat(entry.socket)).mode & 0o777).toBe(0o600);
  });

  it(
    verifies('jobs.detached-secret', 'attack: without the secret nothing is heard, and nothing is said but a nonce'),
    async () => {
      const { entry, door, asked } = await openDoor();
      for (const lines of [
        [{ do: 'list', n: 1 }],
        [
          { nonce: 'x', proof: 'y' },
          { do: 'list', n: 1 },
        ],
        [
          { nonce: 'x', proof: wireProof('cd'.repeat(32), 'node', { theirs: 'x', own: 'x' }) },
          { do: 'list', n: 1 },
        ],
        ['not json'],
      ]) {
        const { socket, heard, closed } = await visit(entry.socket);
        door.tell({ notice: 'output', jobId: 'secret-job', end: 1, truncated: false });
        for (const line of lines) socket.write(typeof line === 'string' ? `${line}\n` : lineOf(line));
        await closed;
        expect(Object.keys(JSON.parse(heard()) as object)).toEqual(['wire', 'nonce']);
      }
      await expect(linkTo({ ...entry, secret: 'cd'.repeat(32) })).rejects.toThrow(LinkLost);
      expect(asked).toEqual([]);
    },
  );

  it('attack: the proof of another conversation, or the other end’s own, opens nothing', async () => {
    const { entry, asked } = await openDoor();
    const first = await visit(entry.socket);
    const own = 'a'.repeat(32);
    const theirs = nonceOf(first.heard());
    const proof = wireProof(SECRET, 'node', { theirs, own });
    first.socket.write(lineOf({ nonce: own, proof }));
    await once(first.socket, 'data');
    const reflected = (JSON.parse(first.heard().split('\n')[1] ?? '') as { proof: string }).proof;
    for (const replayed of [proof, reflected]) {
      const { socket, closed } = await visit(entry.socket);
      socket.write(lineOf({ nonce: own, proof: replayed }) + lineOf({ do: 'list', n: 1 }));
      await closed;
    }
    expect(asked).toEqual([]);
    first.socket.destroy();
  });

  it('attack: endless lines and silence lose the connection', async () => {
    const { entry, clock } = await openDoor();
    const endless = await visit(entry.socket);
    endless.socket.write('x'.repeat(5_000));
    await endless.closed;
    const silent = await visit(entry.socket);
    clock.advance(3_001);
    await silent.closed;
  });
});

describe('a node', () => {
  it('attack: says nothing but a proof to what took the place of a supervisor', async () => {
    const path = join(await tempFolder(), 'fake.sock');
    let heard = '';
    const server = createServer((socket) => {
      socket.write(lineOf({ wire: 1, nonce: 'f'.repeat(32) }));
      socket.on('data', (chunk: Buffer) => {
        heard += chunk.toString();
        const { nonce, proof } = JSON.parse(heard) as { nonce: string; proof: string };
        // All that it has is what it heard.
        socket.write(lineOf({ wire: 1, version: '2', nonce, proof }));
      });
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => void server.close());
    const entry = { v: 1, id: 'i', pid: 1, startedAt: 0, socket: path, secret: SECRET, version: '2' } as const;
    await expect(linkTo(entry)).rejects.toThrow(LinkLost);
    expect(Object.keys(JSON.parse(heard) as object)).toEqual(['nonce', 'proof']);
    expect(heard).not.toContain(SECRET);
  });
});
