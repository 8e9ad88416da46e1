import { describe, expect, it } from 'vitest';

import { localDest, localSource, remotePath, typedPlace } from '../../src/cli/transfer-paths.ts';
import { verifies } from '../requirements.ts';

const LINUX = { cwd: '/srv/kai/here', platform: 'linux' } as const;
const WINDOWS = { cwd: 'C:\\Users\\kai', platform: 'win32' } as const;

describe('a path of this machine', () => {
  it.each([
    ['x.txt', '/srv/kai/here/x.txt'],
    ['./a/../x', '/srv/kai/here/x'],
    ['../x', '/srv/kai/x'],
    ['/x', '/x'],
    ['/', '/'],
    ['dir/', '/srv/kai/here/dir/'],
    ['.', '/srv/kai/here/.'],
    ['..', '/srv/kai/.'],
    ['dir/.', '/srv/kai/here/dir/.'],
    ['dir/./', '/srv/kai/here/dir/.'],
    ['../', '/srv/kai/.'],
    ['./', '/srv/kai/here/.'],
    ['*.log', '/srv/kai/here/*.log'],
    ['~', '~'],
    ['~/x', '~/x'],
    ['~x', '/srv/kai/here/~x'],
    ['a\\', '/srv/kai/here/a\\'],
    ['.hidden', '/srv/kai/here/.hidden'],
    ['x..', '/srv/kai/here/x..'],
  ])(verifies('cli.transfer.paths', 'is absolute as a source, and its end stays: %s → %s'), (typed, full) => {
    expect(localSource(typed, LINUX)).toBe(full);
  });

  it.each([
    ['x', '/srv/kai/here/x'],
    ['x/', '/srv/kai/here/x/'],
    ['.', '/srv/kai/here/'],
    ['./', '/srv/kai/here/'],
    ['..', '/srv/kai/'],
    ['x/.', '/srv/kai/here/x/'],
    ['/', '/'],
    ['~/', '~/'],
    ['x.', '/srv/kai/here/x.'],
  ])(
    verifies('cli.transfer.paths', 'is absolute as a destination, and says "into it" as before: %s → %s'),
    (typed, full) => {
      expect(localDest(typed, LINUX)).toBe(full);
    },
  );

  it.each([String.raw`C:\x`, String.raw`\\host\share`])(
    verifies('cli.transfer.paths', 'of Windows is no destination elsewhere: %s'),
    (typed) => {
      expect(() => localDest(typed, LINUX)).toThrow(`${JSON.stringify(typed)} is a path of Windows`);
      expect(localDest(`./${typed}`, LINUX)).toBe(`/srv/kai/here/${typed}`);
      expect(localSource(typed, LINUX)).toBe(`/srv/kai/here/${typed}`);
    },
  );

  it.each([
    ['x', 'C:\\Users\\kai\\x'],
    ['D:\\data', 'D:\\data'],
    ['d:/data', 'd:\\data'],
    ['/d/data', 'D:\\data'],
    ['sub\\', 'C:\\Users\\kai\\sub/'],
    ['~\\x', '~\\x'],
    ['.', 'C:\\Users\\kai/.'],
  ])('is written as Windows does: %s → %s', (typed, full) => {
    expect(localSource(typed, WINDOWS)).toBe(full);
  });

  it('is a folder on Windows with either separator', () => {
    expect(localDest('sub\\', WINDOWS)).toBe('C:\\Users\\kai\\sub/');
    expect(localDest('sub/', WINDOWS)).toBe('C:\\Users\\kai\\sub/');
    expect(localDest('C:\\', WINDOWS)).toBe('C:\\');
  });

  it('is never the current folder where nothing was typed', () => {
    for (const read of [() => localSource('', LINUX), () => localDest('', LINUX), () => remotePath('')])
      expect(read).toThrow('one of the paths is empty');
  });
});

describe('a place of cp', () => {
  it.each([
    ['kai:x', 'kai', 'x'],
    ['kai:', 'kai', ''],
    ['kai:/abs/a:b', 'kai', '/abs/a:b'],
    ['kai:C:\\x', 'kai', 'C:\\x'],
    ['192.168.1.20:x', '192.168.1.20', 'x'],
    ['[fe80::1]:x', '[fe80::1]', 'x'],
    ['[fe80::1]:19600:x', '[fe80::1]:19600', 'x'],
    ['k:x', 'k', 'x'],
    ['x', undefined, 'x'],
    ['./a:b', undefined, './a:b'],
    ['/a:b', undefined, '/a:b'],
    ['C:\\x', undefined, 'C:\\x'],
    ['c:/x', undefined, 'c:/x'],
    [':x', undefined, ':x'],
  ])(verifies('cli.cp', 'is peer:path, or a path of this machine: %s'), (typed, machine, path) => {
    expect(typedPlace(typed)).toEqual({ machine, path });
  });
});
