import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { type DoctorParts, examine } from '../../../src/daemon/system/doctor.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Peer } from '../../../src/protocol/peers.ts';
import type { Check } from '../../../src/protocol/system.ts';
import { VERSION } from '../../../src/protocol/version.ts';
import { runCli } from '../../cli/run-cli.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

const peer = (more: Partial<Peer> = {}): Peer => ({
  nodeId: 'a'.repeat(32), name: 'kai', address: '10.0.0.7', port: 19_532, capabilities: [], status: 'online', trusted: true, manuallyAdded: false, ...more,
}); // prettier-ignore

const partsOf = async (more: Partial<DoctorParts> = {}): Promise<DoctorParts> => {
  const dataDir = await tempFolder();
  await chmod(dataDir, 0o700);
  return {
    dataDir,
    privateFiles: [],
    platform: 'linux',
    nodeVersion: 'v20.11.0',
    tlsEnabled: () => true,
    warnings: () => [],
    restartNeeded: () => [],
    trust: () => [],
    supervisors: () => Promise.resolve([]),
    peers: () => [peer()],
    ping: () => Promise.resolve({ latencyMs: 3.21, clockSkewMs: 20, version: VERSION }),
    ...more,
  };
};

const find = async (parts: Partial<DoctorParts>, name: string): Promise<Check[]> =>
  (await examine(await partsOf(parts))).checks.filter((check) => check.name === name);

describe('doctor', () => {
  it(verifies('cli.doctor', 'says which process has detached jobs, and warns where it does not answer'), async () => {
    const one = { pid: 4711, version: VERSION, runs: 2, answers: true };
    const jobs = (more: object) => find({ supervisors: () => Promise.resolve([{ ...one, ...more }]) }, 'jobs');
    expect(await jobs({})).toMatchObject([{ level: 'ok', detail: '2 detached jobs in process 4711' }]);
    expect(await jobs({ runs: 1, version: '1.9.0' })).toMatchObject([
      { level: 'ok', detail: '1 detached job in process 4711 (of loopsy 1.9.0)' },
    ]);
    expect(await jobs({ answers: false })).toMatchObject([
      { level: 'warning', detail: expect.stringContaining('does not answer'), fix: expect.stringContaining('4711') },
    ]);
    expect(await jobs({ runs: 0 })).toEqual([]);
  });

  it(
    verifies('fault.foreign-folder', 'fails where the folder, or a file in it, is another user’s'),
    async ({ skip }) => {
      skip(process.platform === 'win32', 'Windows has no such owners');
      const [check] = await find({ uid: 4_000_000_000 }, 'files');
      expect(check).toMatchObject({
        ok: false,
        level: 'error',
        detail: expect.stringMatching(/ belongs to .+, not to the user who runs the node$/),
        fix: expect.stringContaining('chown -R'),
      });
    },
  );

  it('finds nothing where all is well', async () => {
    const { checks } = await examine(await partsOf({ platform: 'win32' }));
    expect(checks.map(({ name, level }) => `${name} ${level}`)).toEqual([
      'runtime ok',
      'config ok',
      'tls ok',
      'files ok',
      'disk ok',
      'peer kai ok',
    ]);
  });

  it(
    verifies(
      'cli.doctor',
      'says of each peer whether it is reached, by whom, how fast, which version and how far its clock',
    ),
    async () => {
      const [good] = await find({}, 'peer kai');
      expect(good?.detail).toBe(`reachable at 10.0.0.7:19532, pin matches, 3.2 ms, version ${VERSION}`);
      const ping =
        (clockSkewMs: number, version = VERSION) =>
        () =>
          Promise.resolve({ latencyMs: 1, clockSkewMs, version });
      const [skewed] = await find({ ping: ping(-61_000) }, 'peer kai');
      expect(skewed).toMatchObject({ ok: true, level: 'warning', detail: expect.stringContaining('-61 s away') });
      const [older] = await find({ ping: ping(0, '1.0.0') }, 'peer kai');
      expect(older?.detail).toContain(`version 1.0.0 (this one is ${VERSION})`);
      const failed = (): Promise<never> =>
        Promise.reject(new LoopsyError('peer_handshake', { message: 'another key' }));
      expect(await find({ ping: failed }, 'peer kai')).toMatchObject([
        { ok: false, level: 'error', detail: 'another key' },
      ]);
      const byHand = peer({ trusted: false, manuallyAdded: true, reason: 'not trusted: `loopsy pair 10.0.0.7`' });
      expect(await find({ peers: () => [byHand] }, 'peer kai')).toMatchObject([
        { level: 'warning', fix: byHand.reason },
      ]);
      expect(await find({ peers: () => [] }, 'peers')).toMatchObject([{ level: 'warning', fix: 'loopsy pair' }]);
    },
  );

  it('says what is wrong with trust, each with the next step, and once: not for the rows of pins again', async () => {
    const trust = [
      { level: 'error', text: 'two keys for kai', fix: 'loopsy peers remove abcd' },
      { level: 'warning', text: 'never met', fix: 'loopsy peers add' },
    ] as const;
    const { nodeId, ...unmet } = peer({ status: 'unknown' });
    const rows = [peer({ trusted: false }), unmet];
    const { checks } = await examine(await partsOf({ trust: () => trust, peers: () => rows }));
    expect(checks.filter(({ name }) => /^(trust|peer)/.test(name))).toEqual([
      { name: 'trust', ok: false, level: 'error', detail: 'two keys for kai', fix: 'loopsy peers remove abcd' },
      { name: 'trust', ok: true, level: 'warning', detail: 'never met', fix: 'loopsy peers add' },
    ]);
    expect(nodeId).toBeDefined();
  });

  it('repeats what the config says, and that TLS is off', async () => {
    expect(await find({ tlsEnabled: () => false }, 'tls')).toMatchObject([
      { level: 'warning', detail: expect.stringContaining('in clear') },
    ]);
    const config = await find({ warnings: () => ['broken'], restartNeeded: () => ['server.port'] }, 'config');
    expect(config).toMatchObject([
      { detail: 'broken' },
      { detail: 'changed, but not yet in force: server.port', fix: 'loopsy restart' },
    ]);
  });

  it('names the Node that it runs on, and one that is too old', async () => {
    expect(await find({}, 'runtime')).toMatchObject([{ level: 'ok', detail: 'Node 20.11.0' }]);
    expect(await find({ nodeVersion: 'v18.19.1' }, 'runtime')).toMatchObject(
      [{ level: 'error', detail: /18.*20 or newer/ }].map(({ level, detail }) => ({
        level,
        detail: expect.stringMatching(detail),
      })),
    );
  });

  it('names files that others can read, and a folder that can not be written', async () => {
    const parts = await partsOf();
    const key = join(parts.dataDir, 'key.pem');
    await writeFile(key, '', { mode: 0o600 });
    await chmod(key, 0o640);
    const { checks } = await examine({ ...parts, privateFiles: [key, join(parts.dataDir, 'not-there')] });
    expect(checks.find(({ name }) => name === 'files')).toMatchObject({ ok: false, detail: `others can read ${key}` });
    expect(await find({ dataDir: join(parts.dataDir, 'gone') }, 'disk')).toMatchObject([{ ok: false, level: 'error' }]);
  });

  it(verifies('fault.root', 'says plainly that it runs as root, and goes on'), async () => {
    const user = vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(await find({}, 'user')).toMatchObject([
      { ok: true, level: 'warning', detail: expect.stringContaining('root') },
    ]);
    expect(await find({ platform: 'win32' }, 'user')).toEqual([]);
    user.mockReturnValue(1000);
    expect(await find({}, 'user')).toEqual([]);
    user.mockRestore();
  });

  it(verifies('fault.root', 'says it while the node is down too'), async () => {
    const dataDir = await tempFolder();
    await mkdir(join(dataDir, 'logs'));
    const userOf = async (uid: number): Promise<Check | undefined> => {
      const { stdout } = await runCli(['doctor', '--json'], { dataDir, uid });
      return (JSON.parse(stdout) as { checks: Check[] }).checks.find(({ name }) => name === 'user');
    };
    expect(await userOf(0)).toMatchObject({ ok: true, level: 'warning', detail: expect.stringContaining('root') });
    expect((await userOf(1000))?.level ?? 'ok').toBe('ok');
  });
});
