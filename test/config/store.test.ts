import { lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { onTestFinished, describe, expect, it } from 'vitest';

import type { ConfigSource } from '../../src/config/load.ts';
import { LOOK_EVERY_MS, openConfigStore, type ConfigStore, type ConfigSubscriber } from '../../src/config/store.ts';
import { createLog } from '../../src/kernel/log.ts';
import { FakeClock } from '../helpers/clock.ts';
import { driveClock } from '../helpers/drive-clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { API_KEY, errorOf, MINIMAL, sourceIn } from './source.ts';
import { verifies } from '../requirements.ts';

const TEXT = `# mine\n${MINIMAL}execution:\n  maxConcurrent: 4 # enough\n`;

interface Opened {
  readonly store: ConfigStore;
  readonly source: ConfigSource;
  readonly clock: FakeClock;
  readonly lines: string[];
  readonly file: string;
}

const open = async (text = TEXT): Promise<Opened> => {
  const source = sourceIn(await tempFolder());
  const clock = new FakeClock();
  const lines: string[] = [];
  await writeFile(source.paths.config, text);
  const log = createLog({ level: 'debug', clock, write: (line) => lines.push(line) });
  const store = await openConfigStore({ source, clock, log });
  return { store, source, clock, lines, file: source.paths.config };
};

const openStarted = async (): Promise<Opened> => {
  const opened = await open();
  await opened.store.start();
  onTestFinished(() => opened.store.stop());
  return opened;
};

/** Looks at the file until `done`, or fails. */
const lookUntil = async ({ clock }: Opened, done: () => boolean): Promise<void> => {
  for (let look = 0; look < 500; look++) {
    if (done()) return;
    clock.advance(LOOK_EVERY_MS);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error('nothing changed');
};

/** A subscriber that notes what it is told. */
const listener = (more: Partial<ConfigSubscriber> = {}) => {
  const seen: number[] = [];
  const subscriber: ConfigSubscriber = {
    name: 'jobs',
    commit: (next) => void seen.push(next.execution.maxConcurrent),
    ...more,
  };
  return { seen, subscriber };
};

describe('a change of the settings', () => {
  it(verifies('config.comments', 'is in the file and in force when it is done, comments kept'), async () => {
    const { store, file } = await open();
    const { seen, subscriber } = listener();
    store.subscribe(subscriber);
    const next = await store.change({ 'execution.maxConcurrent': 7 });
    expect(next.execution.maxConcurrent).toBe(7);
    expect(store.current).toBe(next);
    expect(seen).toEqual([7]);
    expect(await readFile(file, 'utf8')).toBe(TEXT.replace('4 #', '7 #'));
    expect((await readdir(join(file, '..'))).filter((name) => name !== 'config.yaml')).toEqual([]);
  });

  it('of entries with names takes them in and out', async () => {
    const { store } = await open();
    await store.change({ 'auth.allowedKeys.ci.west': 'k'.repeat(32), 'execution.env.A': '1' });
    expect(store.current.auth.allowedKeys).toEqual({ 'ci.west': 'k'.repeat(32) });
    await store.change({ 'auth.allowedKeys.ci.west': null, 'execution.maxConcurrent': null });
    expect(store.current.auth.allowedKeys).toEqual({});
    expect(store.current.execution).toMatchObject({ maxConcurrent: 10, env: { A: '1' } });
  });

  it.each([
    [{ 'execution.maxConcurent': 1 }, 'unknown key "execution.maxConcurent"', 'execution.maxConcurent'],
    [
      { 'execution.maxConcurrent': 'many' },
      'execution.maxConcurrent: expected number, received string',
      'execution.maxConcurrent',
    ],
    [{ 'execution.maxConcurrent': 5, 'rateLimits.execute': 0 }, 'rateLimits.execute: Too small', 'rateLimits.execute'],
    [{ version: 3 }, 'unknown key "version"', 'version'],
    [{ 'auth.apiKey': 'b'.repeat(64) }, "the owner's key is not changed this way", 'auth.apiKey'],
    [{ 'execution.env.__proto__': 'x' }, 'unknown key', 'execution.env.__proto__'],
  ])('that is wrong changes nothing and names its field: %j', async (changes, message, field) => {
    const { store, file } = await open();
    const before = store.current;
    const error = await errorOf(() => store.change(changes));
    expect(error).toMatchObject({ error: 'invalid_request', details: { field } });
    expect(error.message).toContain(message);
    expect(store.current).toBe(before);
    expect(await readFile(file, 'utf8')).toBe(TEXT);
  });

  it('that a subscriber can not follow changes nothing, and gives its reason', async () => {
    const { store, file } = await open();
    const calm = listener();
    const strict = listener({ verify: (next) => (next.execution.maxConcurrent > 5 ? 'five at most' : undefined) });
    store.subscribe(calm.subscriber);
    store.subscribe(strict.subscriber);
    expect((await errorOf(() => store.change({ 'execution.maxConcurrent': 6 }))).message).toBe('five at most');
    expect([calm.seen, strict.seen]).toEqual([[], []]);
    expect(await readFile(file, 'utf8')).toBe(TEXT);
    await store.change({ 'execution.maxConcurrent': 5 });
    expect(strict.seen).toEqual([5]);
  });

  it('reaches all subscribers, though one throws and one hangs', async () => {
    const { store, clock, lines } = await open();
    store.subscribe({ name: 'throws', commit: () => { throw new Error('no'); } }); // prettier-ignore
    store.subscribe({ name: 'hangs', commit: () => new Promise(() => undefined) });
    const { seen, subscriber } = listener();
    const end = store.subscribe(subscriber);
    const changing = store.change({ 'execution.maxConcurrent': 6 });
    while (seen.length === 0) await new Promise(setImmediate);
    clock.advance(5000);
    await changing;
    expect(seen).toEqual([6]);
    expect(lines.join('')).toMatch(/config change failed.*throws[\s\S]*config change hangs.*hangs/);
    end();
    const again = store.change({ 'execution.maxConcurrent': 7 });
    while (store.current.execution.maxConcurrent !== 7) await new Promise(setImmediate);
    clock.advance(5000);
    await again;
    expect(seen).toEqual([6]);
  });

  it(
    verifies('config.two-writers', 'loses no other, though node and command change the same file at once'),
    async () => {
      const { store, source, clock } = await open();
      const log = createLog({ level: 'error', clock, write: () => undefined });
      const command = await openConfigStore({ source, clock, log });
      const names = Array.from({ length: 8 }, (_, at) => `n${at}`);
      const changing = names.map((name, at) =>
        (at % 2 === 0 ? store : command).change({ [`execution.env.${name}`]: name }),
      );
      await driveClock(clock, Promise.all(changing));
      await store.reload();
      expect(Object.keys(store.current.execution.env).toSorted()).toEqual(names);
    },
  );

  it('starts from the file as a person has left it, and is refused while that is broken', async () => {
    const { store, file } = await open();
    await writeFile(file, `${TEXT}rateLimits:\n  execute: 3 # slow\n`);
    await store.change({ 'execution.maxConcurrent': 2 });
    expect(store.current.rateLimits.execute).toBe(3);
    await writeFile(file, `${TEXT}oops: 1\n`);
    const error = await errorOf(() => store.change({ 'execution.maxConcurrent': 3 }));
    expect(error.error).toBe('config_invalid');
    expect(await readFile(file, 'utf8')).toBe(`${TEXT}oops: 1\n`);
  });

  it('of a file that is a link changes what it points to', async ({ skip }) => {
    skip(process.platform === 'win32', 'links need rights on Windows');
    const { store, file } = await open();
    const real = join(await tempFolder(), 'dotfiles.yaml');
    await rename(file, real);
    await symlink(real, file);
    await store.change({ 'execution.maxConcurrent': 9 });
    expect((await lstat(file)).isSymbolicLink()).toBe(true);
    expect(await readFile(real, 'utf8')).toContain('maxConcurrent: 9 # enough');
  });

  it('that can not be written says why, and is not in force', async () => {
    const { store, file } = await open();
    await mkdir(`${file}.dir`);
    await rm(file);
    await rename(`${file}.dir`, file);
    const error = await errorOf(() => store.change({ 'execution.maxConcurrent': 9 }));
    expect(error).toMatchObject({ error: 'config_invalid' });
    expect(error.message).toContain(file);
    expect(store.current.execution.maxConcurrent).toBe(4);
  });

  it('of the owner’s key replaces it in place', async () => {
    const { store, file } = await open();
    await store.replaceApiKey('c'.repeat(64));
    expect(store.current.auth.apiKey).toBe('c'.repeat(64));
    expect(await readFile(file, 'utf8')).toBe(TEXT.replace(API_KEY, `"${'c'.repeat(64)}"`));
  });

  it(verifies('config.live', 'of a key that needs a restart is named until it is taken back'), async () => {
    const { store } = await open();
    await store.change({ 'server.port': 4000, 'tls.enabled': false, 'logging.level': 'debug' });
    expect(store.restartNeeded).toEqual(['server.port', 'tls.enabled']);
    await store.change({ 'server.port': null });
    expect(store.restartNeeded).toEqual(['tls.enabled']);
  });

  it('never writes a secret to the log', async () => {
    const { store, lines } = await open();
    await store.change({ 'auth.allowedKeys.ci': 's3cret'.repeat(8) });
    await store.replaceApiKey('d'.repeat(64));
    expect(lines.join('')).toContain('"changed":["auth.allowedKeys"]');
    expect(lines.join('')).not.toMatch(/s3cret|dddd/);
  });
});

describe('a file that a person changes', () => {
  it(verifies('config.live', 'is in force soon after, however an editor saves it'), async () => {
    const opened = await openStarted();
    const { store, file } = opened;
    const { seen, subscriber } = listener();
    store.subscribe(subscriber);
    await writeFile(file, TEXT.replace('4', '5'));
    await lookUntil(opened, () => store.current.execution.maxConcurrent === 5);
    await writeFile(`${file}.new`, TEXT.replace('4', '6'));
    await rename(`${file}.new`, file);
    await lookUntil(opened, () => store.current.execution.maxConcurrent === 6);
    await rename(file, `${file}~`);
    await writeFile(file, TEXT.replace('4', '7'));
    await lookUntil(opened, () => store.current.execution.maxConcurrent === 7);
    expect(seen).toEqual([5, 6, 7]);
    expect(store.warnings).toEqual([]);
  });

  it('and breaks leaves the old settings in force, with a warning until it is mended', async () => {
    const opened = await openStarted();
    const { store, file, lines } = opened;
    const before = store.current;
    await writeFile(file, `${TEXT}exection: {}\n`);
    await lookUntil(opened, () => store.warnings.length > 0);
    expect(store.current).toBe(before);
    expect(store.warnings[0]).toMatch(/did you mean "execution"\? \(.*config\.yaml:7\).*stay in force/);
    expect(lines.join('')).toContain('config refused');
    await writeFile(file, TEXT);
    await lookUntil(opened, () => store.warnings.length === 0);
    expect(store.current).toBe(before);
  });

  it.each(['', 'version: 2\n', '\u0000', '[]'])('to %j never means defaults', async (text) => {
    const opened = await openStarted();
    await writeFile(opened.file, text);
    await lookUntil(opened, () => opened.store.warnings.length > 0);
    expect(opened.store.current.execution.maxConcurrent).toBe(4);
  });

  it('and removes leaves the settings in force, with a warning', async () => {
    const opened = await openStarted();
    await rm(opened.file);
    await lookUntil(opened, () => opened.store.warnings.length > 0);
    expect(opened.store.warnings[0]).toContain('there is no');
    expect(opened.store.current.execution.maxConcurrent).toBe(4);
  });

  it('in a way that a subscriber can not follow is a warning', async () => {
    const opened = await openStarted();
    const { subscriber } = listener({ verify: () => 'not with me' });
    opened.store.subscribe(subscriber);
    await writeFile(opened.file, TEXT.replace('4', '5'));
    await lookUntil(opened, () => opened.store.warnings.length > 0);
    expect(opened.store.warnings[0]).toBe('not with me; the settings from before stay in force');
  });

  it('is not read in the middle of being written', async () => {
    const opened = await openStarted();
    const { store, file, clock } = opened;
    await lookUntil(opened, () => clock.monotonicMs() > 5 * LOOK_EVERY_MS);
    const grown = `${TEXT}rateLimits:\n  execute: 3\n`;
    for (let length = 0; length < grown.length; length += 7) {
      await writeFile(file, grown.slice(0, length));
      clock.advance(LOOK_EVERY_MS);
      await new Promise((resolve) => setTimeout(resolve, 4));
      expect(store.warnings).toEqual([]);
    }
    await writeFile(file, grown);
    await lookUntil(opened, () => store.current.rateLimits.execute === 3);
  });

  it('is not looked at any more when the node stops', async () => {
    const { store, clock } = await open();
    await store.start();
    await store.stop();
    expect(clock.waiting).toBe(0);
  });
});
