import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { inspectDataFolder, removeDataFolder } from '../../src/config/data-folder.ts';
import { nodePaths } from '../../src/config/paths.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';
import { errorOf, MINIMAL } from './source.ts';

const OURS = { 'config.yaml': MINIMAL, 'trust.db': '', 'node.lock': '' };

/** A home with files in it. */
const homeWith = async (files: Record<string, string>): Promise<string> => {
  const home = await tempFolder();
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(home, name)), { recursive: true });
    await writeFile(join(home, name), text);
  }
  return home;
};
const below = (folder: string, files: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [`${folder}/${name}`, text]));

const remove = async (home: string, dataDir: string): Promise<readonly string[]> => {
  const paths = nodePaths(dataDir);
  const folder = await inspectDataFolder(paths, home);
  if (folder === undefined) return [];
  await removeDataFolder(paths, folder);
  return folder.own;
};
const refusalOf = async (home: string, dataDir: string): Promise<string> =>
  (await errorOf(() => remove(home, dataDir))).message;

describe('a data folder', () => {
  it(verifies('cli.uninstall', 'is removed with all that is loopsy’s, drafts and copies too'), async () => {
    const home = await homeWith(
      below('.loopsy', {
        ...OURS,
        'trust.db-wal': '',
        'loopsy.db-shm': '',
        'jobs/one/output': 'x',
        'logs/audit.jsonl': '',
        'tls/key.pem': '',
        'tls.loopsy1/key.pem': '',
        'config.yaml.loopsy1-2': '',
        '.config.yaml.0123456789ab.tmp': '',
        'config.lock.0123456789abcdef/x': '',
        'sessions/worker-1/config.yaml': '',
        'supervisors/x.json': '',
      }),
    );
    const own = await remove(home, join(home, '.loopsy'));
    // Cut off before the end, it can be said again: what tells that it is loopsy's goes last.
    expect(own.slice(-3)).toEqual(['trust.db', 'node.lock', 'config.yaml']);
    expect(await readdir(home)).toEqual([]);
    expect(await remove(home, join(home, '.loopsy'))).toEqual([]);
  });

  it('keeps what is not loopsy’s, and then stays itself', async () => {
    const home = await homeWith(
      below('.loopsy', { ...OURS, 'notes.txt': 'mine', 'config.yaml.bak': 'mine', 'trust.db2': 'mine' }),
    );
    await remove(home, join(home, '.loopsy'));
    expect((await readdir(join(home, '.loopsy'))).toSorted()).toEqual(['config.yaml.bak', 'notes.txt', 'trust.db2']);
  });

  it('that was cut off half way, or never begun, is removed too', async () => {
    const home = await homeWith(below('half', { 'config.yaml': MINIMAL }));
    await mkdir(join(home, 'empty'));
    await remove(home, join(home, 'half'));
    await remove(home, join(home, 'empty'));
    expect(await readdir(home)).toEqual([]);
  });
});

describe('attacks on a removal', () => {
  it(verifies('cli.uninstall', 'a data folder that is a link to the home folder'), async () => {
    const home = await homeWith({ ...OURS, 'logs/mine.log': 'mine', 'thesis.txt': 'mine' });
    await symlink(home, join(home, '.loopsy'));
    expect(await refusalOf(home, join(home, '.loopsy'))).toContain(`it is a link to ${home}`);
    expect(await readFile(join(home, 'thesis.txt'), 'utf8')).toBe('mine');
    expect(existsSync(join(home, 'logs/mine.log'))).toBe(true);
  });

  it('a data folder that is the home folder, or one above it, or the root', async () => {
    const home = await homeWith({ ...OURS, 'thesis.txt': 'mine' });
    for (const dataDir of [home, dirname(home), '/', `${home}/.`]) {
      expect(await refusalOf(home, dataDir)).toContain('your home folder is in it');
    }
    const alias = join(await tempFolder(), 'alias');
    await symlink(home, alias);
    expect(await refusalOf(alias, home)).toContain('your home folder is in it');
    expect((await readdir(home)).length).toBe(4);
  });

  it('a folder of somebody else’s that LOOPSY_DATA_DIR names', async () => {
    const home = await homeWith({
      'project/logs/build.log': 'mine',
      'project/config.yaml': 'version: 2\nserver: {}\n',
      'other/config.yaml': 'auth:\n  apiKey: mine\n',
      'dbs/trust.db/x': 'a folder',
    });
    for (const name of ['project', 'other', 'dbs']) {
      expect(await refusalOf(home, join(home, name))).toContain('does not look like a data folder of loopsy');
    }
    expect(await refusalOf(home, join(home, 'project/config.yaml'))).toContain('it is no folder');
    expect(existsSync(join(home, 'project/logs/build.log'))).toBe(true);
  });

  it('links out of the data folder: they go, and what they lead to stays', async () => {
    const home = await homeWith({ ...below('.loopsy', OURS), 'photos/a.jpg': 'mine', 'photos/b/c.jpg': 'mine' });
    await symlink(join(home, 'photos'), join(home, '.loopsy/logs'));
    await mkdir(join(home, '.loopsy/jobs'));
    await symlink(join(home, 'photos'), join(home, '.loopsy/jobs/deep'));
    await symlink(join(home, 'photos/a.jpg'), join(home, '.loopsy/agent.json'));
    await remove(home, join(home, '.loopsy'));
    expect(await readdir(home)).toEqual(['photos']);
    expect((await readdir(join(home, 'photos'), { recursive: true })).toSorted()).toEqual(['a.jpg', 'b', 'b/c.jpg']);
  });

  it('a folder that may not be emptied is said so, and what is left can be removed later', async ({ skip }) => {
    skip(process.platform === 'win32' || process.getuid?.() === 0, 'root and Windows know no such folder');
    const home = await homeWith(below('.loopsy', { ...OURS, 'jobs/x/y': '' }));
    await chmod(join(home, '.loopsy/jobs/x'), 0o500);
    await expect(remove(home, join(home, '.loopsy'))).rejects.toThrow('EACCES');
    await chmod(join(home, '.loopsy/jobs/x'), 0o700);
    await remove(home, join(home, '.loopsy'));
    expect(await readdir(home)).toEqual([]);
  });
});
