import { readFile, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('sources that can not go together', () => {
  it(
    verifies('transfers.errors.where', 'say so at once, whatever is at the destination, and what to do instead'),
    async () => {
      const { move, write } = await localNode();
      await write({ 's1/f': '1', 's2/f': '2', 'there/x': '' });
      for (const dest of ['new', 'new/', 'there'])
        expect(await move({ sources: ['s1/.', 's2/.'], dest })).toMatchObject({
          outcome: 'failed',
          error: 'invalid_request',
          message: 'what is in a folder goes by itself, and "s1/." is one of several sources',
          hint: 'send each by itself, or name the folders without `/.`: then they go there with their names',
        });
    },
  );

  it(verifies('transfers.errors.where', 'two of one name are not left to chance'), async () => {
    const { home, move, write } = await localNode();
    await write({ 's1/f': '1', 's2/f': '2', 'there/x': '' });
    expect(await move({ sources: ['s1/f', 's2/f'], dest: 'there/' })).toMatchObject({
      outcome: 'failed',
      error: 'name_unusable',
      message: 'two of the sources are called "f": both would become "there/f"',
      hint: 'send one of them by itself, to another place or under another name',
    });
    expect(await readdir(join(home, 'there'))).toEqual(['x']);
  });

  it(verifies('transfers.errors.where', 'several things go into a folder, and it is said how it is made'), async () => {
    const { move, write } = await localNode();
    await write({ a: '1', b: '2' });
    expect(await move({ sources: ['a', 'b'], dest: 'new' })).toMatchObject({
      error: 'file_not_found',
      message: '"new" is not there, and several things go into a folder',
      hint: 'with `/` behind it, "new/", it is made',
    });
    expect(await move({ sources: ['a'], dest: 'no/new' })).toMatchObject({
      error: 'file_not_found',
      message: '"no/new" can not be made: the folder above it is not there',
      hint: 'make that folder first; only the last name of a path is made',
    });
  });
});

describe('a destination that has a name of loopsy’s own', () => {
  it(verifies('transfers.errors.where', 'is named itself, not the source, and another name is asked for'), async () => {
    const { home, move, write } = await localNode();
    await write({ f1: '1' });
    for (const dest of ['.loopsy-0123456789abcdef.part', '.loopsy-0123456789abcdef.part/'])
      expect(await move({ sources: ['f1'], dest })).toMatchObject({
        outcome: 'failed',
        error: 'name_unusable',
        message: `"${dest}" is a name that loopsy keeps for itself`,
        hint: 'choose another name',
      });
    expect((await readdir(home)).filter((name) => name.startsWith('.loopsy-'))).toEqual([]);
  });
});

describe('a destination that is a path of Windows, on another system', () => {
  it(verifies('transfers.names', 'is no name of a file: nothing is made, and it is said what to do'), async () => {
    const { home, move, write } = await localNode();
    await write({ a: '1' });
    for (const dest of [String.raw`\\host\share`, String.raw`C:\x`, 'd:\\dir\\'])
      expect(await move({ sources: ['a'], dest })).toMatchObject({
        outcome: 'failed',
        error: 'name_unusable',
        message: `${JSON.stringify(dest)} is a path of Windows; this node runs on Linux`,
        hint: `name one like ~/x or /tmp/x; a file that is really called so is written ./${dest}`,
      });
    expect(await readdir(home)).not.toContainEqual(expect.stringMatching(/^\\|^[A-Za-z]:/));
    expect(await move({ sources: ['a'], dest: String.raw`./C:\x` })).toMatchObject({ outcome: 'done' });
    expect(await readFile(join(home, String.raw`C:\x`), 'utf8')).toBe('1');
    expect(await move({ sources: ['a'], dest: 'C:/x' })).toMatchObject({ error: 'file_not_found' });
  });
});

describe('one of several sources that is not there', () => {
  it(
    verifies('transfers.atomic', 'never lets the other one take the place of a file, or the name of a folder'),
    async () => {
      const { home, move, write } = await localNode();
      await write({ a: 'new', 'tree/f': '', notes: 'old', 'there/x': '' });
      expect(await move({ sources: ['a', 'gone'], dest: 'notes' })).toMatchObject({
        outcome: 'failed',
        error: 'wrong_type',
        message: '"notes" is no folder',
      });
      expect(await readFile(join(home, 'notes'), 'utf8')).toBe('old');
      for (const source of ['a', 'tree'])
        expect(await move({ sources: [source, 'gone'], dest: 'new' })).toMatchObject({ error: 'file_not_found' });
      expect(await readdir(home)).not.toContain('new');
      expect(await move({ sources: ['a', 'gone'], dest: 'there' })).toMatchObject({ files: { done: 1, failed: 1 } });
      expect(await readFile(join(home, 'there/a'), 'utf8')).toBe('new');
    },
  );
});

describe('a source with / behind it', () => {
  it(verifies('transfers.bad-input', 'is a folder, or refused'), async () => {
    const { home, move, write } = await localNode();
    await write({ one: '1', 'tree/f': '2' });
    await symlink('tree', join(home, 'link'));
    expect(await move({ sources: ['one/'], dest: 'new' })).toMatchObject({
      outcome: 'failed',
      error: 'wrong_type',
      message: '"one/" is no folder',
    });
    expect(await readdir(home)).not.toContain('new');
    expect(await move({ sources: ['tree/', 'link/'], dest: 'to/' })).toMatchObject({ outcome: 'done' });
    expect(await readFile(join(home, 'to/link/f'), 'utf8')).toBe('2');
  });
});

describe('a link in a folder that things go into', () => {
  it(
    verifies('transfers.links', 'is not followed: what it leads to is no mirror, and a file takes its own place'),
    async () => {
      const { home, move, write } = await localNode();
      await write({ 'tree/f': 'new', one: 'new', 'there/x': '', 'precious/p': 'p', other: 'old' });
      await symlink('../precious', join(home, 'there/tree'));
      await symlink('../other', join(home, 'there/one'));
      await symlink('/', join(home, 'there/out'));
      const [blocked] = (await move({ sources: ['tree'], dest: 'there' })).failures;
      expect(blocked).toMatchObject({ error: 'wrong_type', message: '"tree" is no folder there', files: 1 });
      await move({ sources: ['tree'], dest: 'there/', delete: true });
      expect(await readdir(join(home, 'precious'))).toEqual(['p']);
      expect(await move({ sources: ['one'], dest: 'there' })).toMatchObject({ outcome: 'done' });
      expect(await readFile(join(home, 'other'), 'utf8')).toBe('old');
      expect(await readFile(join(home, 'there/one'), 'utf8')).toBe('new');
      await write({ out: 'new' });
      expect(await move({ sources: ['out'], dest: 'there' })).toMatchObject({ outcome: 'done' });
      // Named itself, it is what it leads to.
      await symlink('precious', join(home, 'named'));
      expect(await move({ sources: ['tree/.'], dest: 'named' })).toMatchObject({ outcome: 'done' });
      expect(await readdir(join(home, 'precious'))).toEqual(['f', 'p']);
    },
  );
});
