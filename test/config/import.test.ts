import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { importPredecessor, type Imported } from '../../src/config/import.ts';
import { loadConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';
import { API_KEY, errorOf, MINIMAL, sourceIn } from './source.ts';

const OLD = `# by hand
server:
  port: 19600
auth:
  apiKey: old-and-secret
tls:
  enabled: false
  pinnedCerts: { kai: "${'ab'.repeat(32)}" }
discovery:
  manualPeers:
    - { address: 10.0.0.5, port: 19532 }
`;

const run = (folder: string, port?: number): Promise<Imported | undefined> =>
  importPredecessor({
    source: { ...sourceIn(folder), ...(port === undefined ? {} : { port }) },
    apiKey: API_KEY,
    clock: systemClock,
  });

const folderOf = async (files: Record<string, string>): Promise<string> => {
  const folder = await tempFolder();
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
};

describe('init --import', () => {
  it(
    verifies(
      'config.import',
      'takes settings and manual peers over, but no key, pin or certificate, and keeps the file',
    ),
    async () => {
      const folder = await folderOf({
        'config.yaml': OLD,
        'tls/key.pem': 'an old private key',
        'tls/cert.pem': 'an old certificate',
        'logs/audit.jsonl': '{"old":true}\n',
        'context.json': '{}',
        'peers.json': JSON.stringify({
          peers: [
            { address: '10.0.0.7', port: 19_601, manuallyAdded: true, apiKey: 'secret-of-7' },
            { address: '10.0.0.8', port: 19_532, manuallyAdded: false },
          ],
        }),
      });
      const imported = await run(folder);
      expect(imported).toMatchObject({
        backup: join(folder, 'config.yaml.loopsy1'),
        aside: [join(folder, 'tls.loopsy1'), join(folder, 'logs/audit.jsonl.loopsy1')],
        taken: ['server.port', 'discovery.manualPeers'],
      });
      expect(imported?.left.map(({ key }) => key)).toEqual([
        'auth.apiKey',
        'tls.enabled',
        'tls.pinnedCerts',
        'peers.json',
        'context.json',
      ]);
      const { config, text } = await loadConfig(sourceIn(folder));
      expect(config.auth).toEqual({ apiKey: API_KEY, allowedKeys: {} });
      expect(config.tls).toEqual({ enabled: true, pinnedCerts: {} });
      expect(config.server.port).toBe(19_600);
      expect(config.discovery.manualPeers.map(({ address }) => address)).toEqual(['10.0.0.5', '10.0.0.7']);
      expect(text).not.toMatch(/secret/);
      expect(await readFile(join(folder, 'config.yaml.loopsy1'), 'utf8')).toBe(OLD);
      for (const name of ['config.yaml', 'config.yaml.loopsy1']) {
        expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
      }
      expect((await readdir(folder)).toSorted()).toEqual([
        'config.yaml',
        'config.yaml.loopsy1',
        'context.json',
        'logs',
        'peers.json',
        'tls.loopsy1',
      ]);
    },
  );

  it('changes nothing where the settings are of this loopsy', async () => {
    const folder = await folderOf({ 'config.yaml': MINIMAL, 'tls/key.pem': 'ours' });
    expect(await run(folder)).toBeUndefined();
    expect(await readFile(join(folder, 'config.yaml'), 'utf8')).toBe(MINIMAL);
    expect(await readFile(join(folder, 'tls/key.pem'), 'utf8')).toBe('ours');
  });

  it('takes no node of this loopsy for the predecessor: its identity stays', async () => {
    const folder = await folderOf({ 'config.yaml': OLD, 'tls/key.pem': 'ours', 'trust.db': '' });
    expect((await run(folder))?.aside).toEqual([]);
    expect(await readFile(join(folder, 'tls/key.pem'), 'utf8')).toBe('ours');
  });

  it('can be said again after it was cut off, and overwrites no copy that is there', async () => {
    const folder = await folderOf({ 'config.yaml': OLD, 'config.yaml.loopsy1': 'of another day\n' });
    expect((await run(folder))?.backup).toBe(join(folder, 'config.yaml.loopsy1-2'));
    // Cut off before the last step: the old file is still in its place, and its copy is there.
    await writeFile(join(folder, 'config.yaml'), OLD);
    expect((await run(folder))?.backup).toBe(join(folder, 'config.yaml.loopsy1-2'));
    expect(await readFile(join(folder, 'config.yaml.loopsy1'), 'utf8')).toBe('of another day\n');
  });

  it('writes LOOPSY_PORT, as init does', async () => {
    const folder = await folderOf({ 'config.yaml': OLD });
    await run(folder, 19_700);
    expect((await loadConfig(sourceIn(folder))).config.server.port).toBe(19_700);
  });

  it.each([
    ['is broken', 'server:\n  port: [1\n', /config\.yaml:\d/],
    ['is empty', '', /is empty/],
    ['is of a newer loopsy', 'version: 3\n', /version 3/],
  ])('refuses a file that %s, and leaves it as it is', async (_, text, says) => {
    const folder = await folderOf({ 'config.yaml': text, 'tls/key.pem': 'old' });
    expect((await errorOf(() => run(folder))).message).toMatch(says);
    expect(await readFile(join(folder, 'config.yaml'), 'utf8')).toBe(text);
    expect((await readdir(folder)).toSorted()).toEqual(['config.yaml', 'tls']);
  });

  it('says where it looked when there is nothing to take over', async () => {
    const folder = await tempFolder();
    const error = await errorOf(() => run(folder));
    expect(error.message).toContain(join(folder, 'config.yaml'));
    expect(error.hint).toContain('loopsy init');
    expect(await readdir(folder)).toEqual([]);
  });

  it('passes over a list of peers that is broken, and keeps a link to settings elsewhere', async () => {
    const folder = await folderOf({ 'dotfiles/loopsy.yaml': OLD, 'peers.json': '{"peers": [' });
    await symlink(join(folder, 'dotfiles/loopsy.yaml'), join(folder, 'config.yaml'));
    expect((await run(folder))?.taken).toEqual(['server.port', 'discovery.manualPeers']);
    expect(await readFile(join(folder, 'dotfiles/loopsy.yaml'), 'utf8')).toContain('version: 2');
  });
});
