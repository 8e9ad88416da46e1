import type { Socket } from 'node:net';

import { expect, it, onTestFinished } from 'vitest';

import { SupervisorLink } from '../../../src/daemon/jobs/supervisor-link.ts';
import { lineOf } from '../../../src/daemon/jobs/wire.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { startFake } from './fake-supervisor.ts';

const linkToFake = async (then: (socket: Socket) => void): Promise<{ link: SupervisorLink; clock: FakeClock }> => {
  const entry = await startFake('i', then);
  const clock = new FakeClock();
  const link = await SupervisorLink.open(entry, { clock, onNotice: () => undefined, onLost: () => undefined });
  onTestFinished(() => link.close());
  return { link, clock };
};

it('a link is mute from an answer that did not come until anything does', async () => {
  let supervisor: Socket | undefined;
  const { link, clock } = await linkToFake((socket) => (supervisor = socket));
  const asked = link.ask({ do: 'list' }).catch((error: unknown) => error);
  expect(link.isMute).toBe(false);
  clock.advance(15_000);
  expect(await asked).toMatchObject({ error: 'request_timeout' });
  expect(link.isMute).toBe(true);
  const next = link.ask({ do: 'list' });
  supervisor?.write(lineOf({ re: 2, runs: [] }));
  await next;
  expect(link.isMute).toBe(false);
});

it('a link to a supervisor that reads nothing passes on a bounded number of bytes, and then says so', async () => {
  const { link } = await linkToFake((socket) => socket.pause());
  const request = { do: 'go', jobId: 'x'.repeat(40_000_000) } as const;
  const asked = [link.ask(request), link.ask(request)].map((one) => one.catch((error: unknown) => error));
  await expect(link.ask({ do: 'list' })).rejects.toMatchObject({ error: 'rate_limited' });
  link.close();
  expect(await Promise.all(asked)).toMatchObject([{ name: 'LinkLost' }, { name: 'LinkLost' }]);
});
