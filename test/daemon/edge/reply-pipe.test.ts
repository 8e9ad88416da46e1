import { connect } from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import { replyStream } from '../../../src/daemon/edge/stream-reply.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { GET, listen, silentLog } from './listening.ts';

describe('readers of this machine that take nothing', () => {
  /** Answers a reader who never reads, on a socket that the listener knows, with events of 1 MB. */
  const unread = async (more: Partial<StreamSource>): Promise<{ closes: () => number }> => {
    let [closes, cursor, lies] = [0, 0, (): number => 0];
    const bytes = Buffer.from(JSON.stringify({ text: 'x'.repeat(1_000_000) }));
    const source: StreamSource = {
      ...more,
      next: async () => ({ type: FRAME.event, bytes, cursor: (cursor += 1) }),
      close: () => void (closes += 1),
    };
    const clock = new FakeClock();
    const { port } = await listen({}, (request, response) => {
      lies = () => response.writableLength;
      const options = { jobId: '', since: 0, waitMs: 0, signal: new AbortController().signal, log: silentLog };
      void replyStream(source, { ...options, clock, request, response });
    });
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    socket.pause().write(GET);
    await expect.poll(() => lies(), { timeout: 10_000 }).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(lies()).toBeGreaterThan(0);
    expect(lies()).toBeLessThan(500_000);
    clock.advance(59_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(closes).toBe(0);
    clock.advance(6000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { closes: () => closes };
  };

  it(verifies('streams.stalled', 'lose a stream that goes on behind its cursor'), async () => {
    expect((await unread({ resumes: true })).closes()).toBe(1);
  });

  it('keep any other: a person may have paused a pager', async () => {
    expect((await unread({})).closes()).toBe(0);
  });
});
