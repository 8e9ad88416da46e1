import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { nodePaths, type NodePaths } from '../../src/config/paths.ts';
import {
  ensureAgentFile,
  readAgentFile,
  removeRegistration,
  writeRegistration,
} from '../../src/config/registration.ts';
import { readRegistration, type Registration } from '../../src/config/read-registration.ts';
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
