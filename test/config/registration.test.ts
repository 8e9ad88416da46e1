import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { nodePaths, type NodePaths } from '../../src/config/paths.ts';
import {
  ensureAgentFile,
  readAgentFile,
  removeLeftDrafts,
  removeRegistration,
  writeRegistration,
} from '../../src/config/registration.ts';
import { readRegistration, type Registration } from '../../src/config/read-registration.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

const registration: Registration = {
  url: 'http://127.0.0.1:19532',
  host: '0.0.0.0',
  port: 19532,
  pid: 4711,
  version: '2.0.0',
  token: 't'.repeat(64),
  nodeId: 'a'.repeat(32),
  boot: 'boot-1',
  startedAt: 1_800_000_000_000,
  program: '/opt/loopsy/dist/daemon/main.js',
  user: 'kai',
};
const paths = async (): Promise<NodePaths> => nodePaths(await tempFolder());

describe('the registration of a node', () => {
  it('says where this start listens, and holds no other word than these', async () => {
    const at = await paths();
    await writeRegistration(at, { ...registration, reach: 'local-only' });
    expect(readRegistration(at)?.reach).toBe('local-only');
    await writeFile(at.registration, JSON.stringify({ ...registration, reach: 'everywhere' }));
    expect(readRegistration(at)).toBeUndefined();
  });

  it('is read as it was written, by its user alone', async () => {
    const at = await paths();
    expect(readRegistration(at)).toBeUndefined();
    await writeRegistration(at, registration);
    expect(readRegistration(at)).toEqual(registration);
    expect(await readFile(at.pidFile, 'utf8')).toBe('4711\n');
    if (process.platform !== 'win32') expect((await stat(at.registration)).mode & 0o777).toBe(0o600);
  });

  it.each(['', '{', 'null', '[]', '{}', '"x"'])('that makes no sense (%s) is none', async (text) => {
    const at = await paths();
    await writeFile(at.registration, text);
    expect(readRegistration(at)).toBeUndefined();
  });

  it.each(Object.keys(registration))('without a good %s is none', async (field) => {
    const at = await paths();
    for (const wrong of [undefined, null, '', {}, 1.5]) {
      await writeFile(at.registration, JSON.stringify({ ...registration, [field]: wrong }));
      expect(readRegistration(at)).toBeUndefined();
    }
  });

  it('of a newer node may hold more', async () => {
    const at = await paths();
    await writeFile(at.registration, JSON.stringify({ ...registration, more: true }));
    expect(readRegistration(at)).toMatchObject(registration);
  });

  it('is removed by its own node, and never by one that was displaced', async () => {
    const at = await paths();
    await writeRegistration(at, registration);
    await writeRegistration(at, { ...registration, boot: 'boot-2', pid: 4712 });
    expect(await removeRegistration(at, 'boot-1')).toBe(false);
    expect(readRegistration(at)?.boot).toBe('boot-2');
    expect(await readFile(at.pidFile, 'utf8')).toBe('4712\n');
    expect(await removeRegistration(at, 'boot-2')).toBe(true);
    expect(existsSync(at.registration) || existsSync(at.pidFile)).toBe(false);
    expect(await removeRegistration(at, 'boot-2')).toBe(false);
  });
});

describe('the drafts of killed writers', () => {
  it('are removed from loopsy’s own folders, and those of others in a folder that a person chose are left', async () => {
    const at = await paths();
    await mkdir(at.tlsDir);
    await mkdir(at.supervisorsDir);
    const left = [
      ...[at.config, at.registration, at.pidFile, at.agentFile].map((file) =>
        file.replace(/([^/\\]+)$/, '.$1.0123456789ab.tmp'),
      ),
      join(at.tlsDir, '.cert.pem.0123456789ab.tmp'),
      join(at.tlsDir, '.key.pem.0123456789ab.new.0123456789ab.tmp'),
      join(at.supervisorsDir, '.0123456789abcdef.json.0123456789ab.tmp'),
    ];
    const kept = [join(at.dataDir, '.diary.txt.0123456789ab.tmp'), at.config, join(at.tlsDir, 'key.pem')];
    for (const file of [...left, ...kept]) await writeFile(file, 'x');
    expect(await removeLeftDrafts(at, new FakeClock(Date.now()))).toBe(0);
    expect(await removeLeftDrafts(at, new FakeClock(Date.now() + 60_000))).toBe(left.length);
    expect(left.filter((file) => existsSync(file))).toEqual([]);
    expect(kept.filter((file) => !existsSync(file))).toEqual([]);
  });

  it('are not made for the pid file, which nobody needs after a power cut', async () => {
    const at = await paths();
    await writeRegistration(at, registration);
    expect((await readdir(at.dataDir)).sort()).toEqual(['daemon.pid', 'node.json']);
    if (process.platform !== 'win32') expect((await stat(at.pidFile)).mode & 0o777).toBe(0o600);
  });
});

describe('the agents’ file', () => {
  it('keeps its secret, whatever the url', async () => {
    const at = await paths();
    expect(await readAgentFile(at)).toBeUndefined();
    const first = await ensureAgentFile(at);
    expect(first.secret).toMatch(/^[0-9a-f]{64}$/);
    const moved = await ensureAgentFile(at, 'http://127.0.0.1:1');
    expect(moved).toEqual({ secret: first.secret, url: 'http://127.0.0.1:1' });
    expect(await ensureAgentFile(at)).toEqual(moved);
    expect(await readAgentFile(at)).toEqual(moved);
    if (process.platform !== 'win32') expect((await stat(at.agentFile)).mode & 0o777).toBe(0o600);
  });

  it('that makes no sense is made anew', async () => {
    const at = await paths();
    await writeFile(at.agentFile, '{"secret":"weak"}');
    expect(await readAgentFile(at)).toBeUndefined();
    expect((await ensureAgentFile(at)).secret).toHaveLength(64);
  });
});
