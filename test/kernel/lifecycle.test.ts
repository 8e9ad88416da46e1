import { describe, expect, it } from 'vitest';

import { startServices, ServiceStartError, type Service } from '../../src/kernel/lifecycle.ts';
import { createLog } from '../../src/kernel/log.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';

const setUp = () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const calls: string[] = [];
  const log = createLog({ level: 'debug', clock, write: (line) => lines.push(line) });
  const controller = new AbortController();
  const service = (name: string, more: Partial<Service> = {}): Service => ({
    name,
    start: more.start ?? (async () => void calls.push(`start ${name}`)),
    stop: more.stop ?? (async () => void calls.push(`stop ${name}`)),
  });
  return { clock, lines, calls, service, controller, options: { clock, log, signal: controller.signal } };
};

describe('services', () => {
  it(verifies('kernel.lifecycle', 'start in order and stop in reverse order'), async () => {
    const { calls, service, options } = setUp();
    const running = await startServices([service('store'), service('jobs'), service('listener')], options);
    expect(await running.stop()).toEqual([]);
    expect(calls).toEqual(['start store', 'start jobs', 'start listener', 'stop listener', 'stop jobs', 'stop store']);
  });

  it('are stopped once, however often they are told', async () => {
    const { calls, service, options } = setUp();
    const running = await startServices([service('store')], options);
    await Promise.all([running.stop(), running.stop()]);
    await running.stop();
    expect(calls).toEqual(['start store', 'stop store']);
  });

  it(verifies('kernel.lifecycle', 'are rolled back when one fails to start, and the culprit is named'), async () => {
    const { calls, service, options } = setUp();
    const cause = new Error('the port is taken');
    const listener = service('listener', { start: () => Promise.reject(cause) });
    const failed = startServices([service('store'), service('jobs'), listener, service('mdns')], options);
    await expect(failed).rejects.toThrow(ServiceStartError);
    await expect(failed).rejects.toMatchObject({ service: 'listener', cause });
    await expect(failed).rejects.toThrow('listener could not be started: the port is taken');
    expect(calls).toEqual(['start store', 'start jobs', 'stop jobs', 'stop store']);
  });

  it('that throw at once fail like those that reject', async () => {
    const { service, options } = setUp();
    const broken = service('broken', {
      start: () => {
        throw new Error('no');
      },
    });
    await expect(startServices([broken], options)).rejects.toMatchObject({ service: 'broken' });
  });

  it('are not started any more once the start was aborted', async () => {
    const { calls, service, controller, options } = setUp();
    const aborting = service('aborting', { start: async () => controller.abort() });
    await expect(startServices([service('store'), aborting, service('late')], options)).rejects.toMatchObject({
      service: 'late',
    });
    expect(calls).toEqual(['start store', 'stop aborting', 'stop store']);
  });

  it('a stop that throws skips no other', async () => {
    const { calls, lines, service, options } = setUp();
    const rejecting = service('rejecting', { stop: () => Promise.reject(new Error('no')) });
    const throwing = service('throwing', {
      stop: () => {
        throw new Error('no');
      },
    });
    const running = await startServices([service('store'), rejecting, throwing], options);
    expect(await running.stop()).toEqual(['throwing', 'rejecting']);
    expect(calls).toContain('stop store');
    expect(lines.join('')).toContain('"service":"rejecting"');
  });

  it(verifies('kernel.lifecycle', 'a stop that hangs skips no other'), async () => {
    const { clock, calls, lines, service, options } = setUp();
    const hanging = service('hanging', { stop: () => new Promise(() => undefined) });
    const running = await startServices([service('store'), hanging, service('listener')], options);
    const stopped = running.stop();
    await new Promise(setImmediate);
    expect(calls).toContain('stop listener');
    expect(calls).not.toContain('stop store');
    clock.advance(5000);
    expect(await stopped).toEqual(['hanging']);
    expect(calls.at(-1)).toBe('stop store');
    expect(lines.join('')).toContain('service stop hangs');
    expect(clock.waiting).toBe(0);
  });

  it('a stop that rejects after its limit does no harm', async () => {
    const { clock, service, options } = setUp();
    let fail: (error: Error) => void = () => undefined;
    const late = service('late', { stop: () => new Promise((_, reject) => (fail = reject)) });
    const running = await startServices([late], options);
    const stopped = running.stop();
    await new Promise(setImmediate);
    clock.advance(5000);
    expect(await stopped).toEqual(['late']);
    fail(new Error('much too late'));
    await new Promise(setImmediate);
  });
});
