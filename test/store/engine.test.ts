import { copyFile, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { openStore } from '../../src/store/engine.ts';
import { MIGRATIONS, type Migrations } from '../../src/store/schema.ts';
import { openDatabase } from '../../src/store/sqlite.ts';
import { type Change, StoreBusy, StoreFull, StoreUnusable, type Store } from '../../src/store/store.ts';
import { nextTurn } from '../../src/kernel/turn.ts';
import { FakeClock } from '../helpers/clock.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { describeStore } from './contract.ts';
import { KeptLog } from './open.ts';
import { verifies } from '../requirements.ts';

const open = (file: string, clock = new FakeClock(), migrations?: Migrations): Store => {
  const store = openStore({ file, clock, log: new KeptLog(), ...(migrations === undefined ? {} : { migrations }) });
  onTestFinished(() => store.close());
  return store;
};

const tempFile = async (): Promise<string> => join(await tempFolder(), 'loopsy.db');

const countRows = (file: string): number => {
  const db = openDatabase(file);
  const row = db.prepare<{ rows: number }>('SELECT count(*) AS rows FROM entries').get();
  db.close();
  return row?.rows ?? -1;
};

const accountsIn = (file: string): string[] => {
  const db = openDatabase(file);
  const rows = db.prepare<{ name: string }>('SELECT name FROM accounts ORDER BY name').all();
  db.close();
  return rows.map(({ name }) => name);
};

describeStore('durable', async (clock) => openStore({ file: await tempFile(), clock, log: new KeptLog() }));

describe('a durable store', () => {
  it('has everything when it is opened again', async () => {
    const file = await tempFile();
    const first = open(file);
    await first.commit([{ put: 'a', value: '1' }]);
    await first.commit([{ delete: 'x' }]);
    await first.close();
    const second = open(file);
    expect(second.get('a')).toEqual({ key: 'a', value: '1', revision: 1 });
    expect(second.revision).toBe(2);
    expect(await second.commit([{ put: 'b', value: '2' }])).toBe(3);
  });

  it(verifies('store.turn-reads', 'reads of one turn see one state, and after a commit what it found'), async () => {
    const file = await tempFile();
    const store = open(file);
    const other = openDatabase(file);
    onTestFinished(() => other.close());
    const foreign = (value: string): void =>
      other.exec(
        `UPDATE entries SET value = '${value}', revision = revision + 1; UPDATE counter SET revision = revision + 1`,
      );
    await store.commit([{ put: 'a', value: '1' }]);
    expect(store.get('a')?.value).toBe('1');
    foreign('2');
    // Both reads are of one turn.
    expect([store.get('a')?.value, store.list({ prefix: '', limit: 1 })[0]?.value]).toEqual(['1', '1']);
    await nextTurn();
    expect([store.get('a')?.value, store.list({ prefix: '', limit: 1 })[0]?.value]).toEqual(['2', '2']);
    foreign('3');
    // What refuses a commit is there to be read.
    await expect(store.commit([{ put: 'a', value: 'mine', ifRevision: 2 }])).rejects.toMatchObject({ revision: 3 });
    expect(store.get('a')?.value).toBe('3');
    const committed = store.commit([{ put: 'a', value: '4' }]);
    expect(store.get('a')?.value).toBe('3');
    await committed;
    expect(store.get('a')?.value).toBe('4');
  });

  it(
    verifies('store.steady-time', 'and its accounts and its time outlive it, with a clock that was set back'),
    async () => {
      const file = await tempFile();
      const clock = new FakeClock();
      const first = open(file, clock);
      await first.commit([{ put: 'a', value: '1', account: 'x', expiresAt: first.now() + 1000 }]);
      clock.advance(900);
      await first.commit([{ put: 'b', value: '22', account: 'y' }]);
      await first.close();
      const later = new FakeClock(clock.now() - 86_400_000);
      const second = open(file, later);
      expect(second.now()).toBe(clock.now());
      expect([second.usage(''), second.usage('y')]).toEqual([
        { entries: 2, bytes: 5 },
        { entries: 1, bytes: 3 },
      ]);
      later.advance(100);
      expect(second.get('a')).toBeUndefined();
    },
  );

  it('keeps its files from other users, those that were open to them too', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no modes');
    const folder = join(await tempFolder(), 'data');
    const store = open(join(folder, 'loopsy.db'));
    await store.commit([{ put: 'a', value: '1' }]);
    const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
    expect(await mode(folder)).toBe(0o700);
    for (const name of ['loopsy.db', 'loopsy.db-wal', 'loopsy.db-shm'])
      expect(await mode(join(folder, name))).toBe(0o600);
    await store.close();
    await writeFile(join(folder, 'trust.db'), '', { mode: 0o644 });
    open(join(folder, 'trust.db'));
    expect(await mode(join(folder, 'trust.db'))).toBe(0o600);
  });

  it('writes a commit behind within 200 ms, in its order', async () => {
    const clock = new FakeClock();
    const store = open(await tempFile(), clock);
    const later = store.commit([{ put: 'a', value: '1' }], { durability: 'later' });
    const more = store.commit([{ put: 'a', value: '2' }], { durability: 'later' });
    clock.advance(199);
    expect(store.get('a')).toBeUndefined();
    clock.advance(1);
    expect(await Promise.all([later, more])).toEqual([1, 2]);
    expect(store.get('a')?.value).toBe('2');
  });

  it('sends what waits along with a commit that is due at once', async () => {
    const store = open(await tempFile());
    const later = store.commit([{ put: 'a', value: '1' }], { durability: 'later' });
    expect(await store.commit([{ put: 'b', value: '2' }])).toBe(2);
    expect(await later).toBe(1);
  });

  it('removes what has expired from the disk', async () => {
    const [file, clock] = [await tempFile(), new FakeClock()];
    const store = open(file, clock);
    const expiresAt = clock.now() + 1000;
    await store.commit(Array.from({ length: 700 }, (_, n) => ({ put: `t/${n}`, value: 'x', expiresAt })));
    await store.commit([
      { put: 'stays', value: 'x' },
      { put: 'long', value: 'x', expiresAt: expiresAt + 3_600_000 },
    ]);
    clock.advance(60_000);
    await vi.waitFor(() => expect(countRows(file)).toBe(2));
    expect(store.revision).toBe(2);
  });

  it(
    verifies('store.expiry-heard', 'is told of what expired while it was closed, however late somebody follows'),
    async () => {
      const [file, clock] = [await tempFile(), new FakeClock()];
      const first = open(file, clock);
      await first.commit([{ put: 'a', value: 'x', expiresAt: clock.now() + 1000 }]);
      await first.close();
      clock.advance(2000);
      const second = open(file, clock);
      const settle = async (): Promise<void> => {
        for (let turn = 0; turn < 30; turn += 1) {
          clock.advance(100);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      };
      await second.commit([{ put: 'b', value: 'x', expiresAt: second.now() + 10 }]);
      await settle();
      const told: unknown[] = [];
      second.follow('', ({ key, revision, expired }) => told.push([key, revision, expired]));
      await settle();
      expect(told).toEqual([
        ['a', 3, true],
        ['b', 3, true],
      ]);
    },
  );

  it('sees the change of another process within a second, while someone listens', async () => {
    const [file, clock] = [await tempFile(), new FakeClock()];
    const [mine, theirs] = [open(file, clock), open(file)];
    const heard: number[] = [];
    const stop = mine.onForeignChange(() => heard.push(mine.revision));
    await mine.commit([{ put: 'own', value: '1' }]);
    clock.advance(1000);
    expect(heard).toEqual([]);
    await theirs.commit([{ put: 'theirs', value: '1' }]);
    clock.advance(1000);
    expect(heard).toEqual([2]);
    expect(mine.get('theirs')?.value).toBe('1');
    const timers = clock.waiting;
    stop();
    expect(clock.waiting).toBe(timers - 1);
    await theirs.commit([{ put: 'theirs', value: '2' }]);
    clock.advance(5000);
    expect(heard).toEqual([2]);
  });

  it('hears of the change of another process from its own next commit', async () => {
    const file = await tempFile();
    const [mine, theirs] = [open(file), open(file)];
    let heard = 0;
    mine.onForeignChange(() => (heard += 1));
    await theirs.commit([{ put: 'theirs', value: '1' }]);
    expect(await mine.commit([{ put: 'own', value: '1' }])).toBe(2);
    expect(heard).toBe(1);
  });

  it('logs a listener that throws, and goes on', async () => {
    const [file, clock, log] = [await tempFile(), new FakeClock(), new KeptLog()];
    const store = openStore({ file, clock, log });
    onTestFinished(() => store.close());
    let heard = 0;
    store.onForeignChange(() => {
      throw new Error('broken listener');
    });
    store.onForeignChange(() => (heard += 1));
    await open(file).commit([{ put: 'a', value: '1' }]);
    clock.advance(1000);
    expect([heard, log.lines.length]).toEqual([1, 1]);
  });

  it('waits for a process that writes, and says busy after seconds of it', async () => {
    const file = await tempFile();
    const store = open(file);
    await store.commit([{ put: 'a', value: '1' }]);
    const other = openDatabase(file);
    onTestFinished(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    await expect(store.commit([{ put: 'a', value: '2' }])).rejects.toThrow(StoreBusy);
    expect(store.get('a')?.value).toBe('1');
    const waits = store.commit([{ put: 'a', value: '3' }]);
    other.exec('COMMIT');
    expect(await waits).toBe(2);
  });

  it('says that the disk is full, changes nothing, reads on, and writes again when there is room', async (context) => {
    const disk = await mountSmallDisk(2048);
    if (disk === undefined) return context.skip('a small disk can be mounted by root on Linux alone');
    const store = open(join(disk.folder, 'loopsy.db'));
    await store.commit([{ put: 'a', value: '1' }]);
    await disk.fill();
    const changes = Array.from({ length: 100 }, (_, n) => ({ put: `b${n}`, value: 'x'.repeat(1000) }));
    await expect(store.commit([{ put: 'a', value: '2' }, ...changes])).rejects.toThrow(StoreFull);
    expect([store.get('a')?.value, store.count('b'), store.revision]).toEqual(['1', 0, 1]);
    await disk.free();
    expect(await store.commit([{ put: 'a', value: '2' }, ...changes])).toBe(2);
    expect([store.get('a')?.value, store.count('b')]).toEqual(['2', 100]);
  });

  it('names the file and the way out where it can not be opened', async () => {
    const file = await tempFile();
    await writeFile(file, 'this was a database once, and is none any more'.repeat(100));
    expect(() => open(file)).toThrow(StoreUnusable);
    expect(() => open(file)).toThrow(`can't open ${file}: file is not a database; check the folder`);
  });
});

describe('the schema', () => {
  const fixture = resolve(import.meta.dirname, '../fixtures/store-v1/loopsy.db');

  it(verifies('store.migrations', 'of version 1 is migrated when it is opened'), async () => {
    const [file, clock] = [await tempFile(), new FakeClock()];
    await copyFile(fixture, file);
    const store = open(file, clock);
    expect(store.list({ prefix: '', limit: 9 })).toEqual([
      { key: 'a', value: 'one', revision: 1 },
      { key: 'b', value: 'two', revision: 3 },
      { key: '\u{1f600}', value: 'three', revision: 2 },
    ]);
    expect(await store.commit([{ put: 'a', value: 'four', expiresAt: clock.now() + 5, ifRevision: 1 }])).toBe(4);
    clock.advance(5);
    expect(store.count('')).toBe(2);
  });

  it('keeps no account that has nothing any more, nor those that an older version has left', async () => {
    const file = await tempFile();
    const put = (key: string, account: string): Change => ({ put: key, value: 'x', account });
    const older = open(file, new FakeClock(), MIGRATIONS.slice(0, 3));
    await older.commit([put('a', 'ann'), put('b', 'ben'), put('c', 'cid')]);
    await older.commit([{ delete: 'a' }]);
    await older.close();
    expect(accountsIn(file)).toEqual(['ann', 'ben', 'cid']);
    const store = open(file);
    await store.commit([put('d', 'cid')]);
    expect(accountsIn(file)).toEqual(['ben', 'cid']);
    await store.commit([put('b', 'dan')]);
    await store.commit([{ delete: 'c' }]);
    expect(accountsIn(file)).toEqual(['cid', 'dan']);
    await store.commit([{ delete: 'd' }, { delete: 'b' }, put('e', 'dan')]);
    expect(accountsIn(file)).toEqual(['dan']);
    expect([store.usage('dan'), store.usage('cid')]).toEqual([
      { entries: 1, bytes: 2 },
      { entries: 0, bytes: 0 },
    ]);
  });

  it(verifies('store.migrations', 'of a newer loopsy is refused with both versions, and left alone'), async () => {
    const file = await tempFile();
    await open(file, new FakeClock(), [...MIGRATIONS, 'CREATE TABLE later (x)']).close();
    expect(() => open(file)).toThrow(StoreUnusable);
    expect(() => open(file)).toThrow(
      `${file} has version ${MIGRATIONS.length + 1}; this loopsy knows versions up to ${MIGRATIONS.length}`,
    );
    open(file, new FakeClock(), [...MIGRATIONS, 'CREATE TABLE later (x)']);
  });

  it('is migrated as a whole or not at all', async () => {
    const file = await tempFile();
    await copyFile(fixture, file);
    expect(() => open(file, new FakeClock(), [...MIGRATIONS, 'CREATE TABLE entries (x)'])).toThrow('already exists');
    const db = openDatabase(file);
    expect(db.prepare<{ user_version: number }>('PRAGMA user_version').get()?.user_version).toBe(1);
    db.close();
    expect(open(file).count('')).toBe(3);
  });
});
