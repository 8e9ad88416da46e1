import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { toNativePath } from '../../src/trust/native-path.ts';
import { verifies } from '../requirements.ts';

const windows = { platform: 'win32', home: 'C:\\Users\\mia' } as const;
const linux = { platform: 'linux', home: '/home/mia' } as const;

describe('a path on Windows', () => {
  it.each([
    ['C:\\x\\y', 'C:\\x\\y'],
    ['c:/x/y', 'C:\\x\\y'],
    ['/c/x/y', 'C:\\x\\y'],
    ['/C', 'C:\\'],
    ['D:\\', 'D:\\'],
    ['~', 'C:\\Users\\mia'],
    ['~/x', 'C:\\Users\\mia\\x'],
    ['~\\x', 'C:\\Users\\mia\\x'],
    ['x\\y', 'C:\\Users\\mia\\x\\y'],
    ['.\\x/./y//z', 'C:\\Users\\mia\\x\\y\\z'],
    ['x\\..\\y', 'C:\\Users\\mia\\y'],
    ['C:\\a\\..\\..\\..\\b', 'C:\\b'],
    ['C:\\con-tour\\nullable\\com10', 'C:\\con-tour\\nullable\\com10'],
    ['C:\\ärger\\日本', 'C:\\ärger\\日本'],
  ])(verifies('platform.windows-paths', '%s is %s'), (given, native) => {
    expect(toNativePath(given, windows)).toBe(native);
  });

  it.each([
    '',
    'x\0y',
    '\\\\server\\share\\x',
    '//server/share/x',
    '\\\\?\\C:\\x',
    '\\\\.\\PhysicalDrive0',
    '//./pipe/x',
    '\\??\\C:\\x',
    'C:x',
    'C:',
    '\\x',
    '/usr/bin',
    '/etc/passwd',
    'C:\\x:stream',
    'C:\\x::$DATA',
    'x:y',
    'C:\\x.',
    'C:\\x ',
    'C:\\x. .',
    'C:\\.ssh.\\id',
    'C:\\.ssh \\id',
    'C:\\...\\x',
    'NUL',
    'C:\\con',
    'C:\\x\\nul.txt',
    'C:\\x\\COM1',
    'C:\\x\\com1 .log',
    'C:\\x\\LPT9.a.b',
    'C:\\x\\COM¹',
    'C:\\x\\CONIN$',
    'C:\\x\\aux\\y',
    'C:\\a|b',
    'C:\\a<b',
    'C:\\a*',
    'C:\\a?',
    'C:\\a"b',
    'C:\\a\nb',
    `C:\\${'x'.repeat(5000)}`,
  ])('%j is refused', (given) => {
    expect(() => toNativePath(given, windows)).toThrow(expect.objectContaining({ error: 'path_denied' }));
  });

  it('always comes out as a drive and whole names, whatever goes in', () => {
    const piece = fc.constantFrom(
      'C:',
      'c',
      '..',
      '.',
      '...',
      '\\',
      '/',
      '\\\\',
      '//',
      '?',
      'x',
      'CON',
      'nul.',
      ' ',
      '.ssh',
      ':',
      '~',
      '$DATA',
      '\u0000',
      'é',
      'COM1.txt',
      '%2e%2e',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 10 }), (pieces) => {
        let native: string;
        try {
          native = toNativePath(pieces.join(''), windows);
        } catch (error) {
          expect(error).toMatchObject({ error: 'path_denied' });
          return;
        }
        expect(native).toMatch(/^[A-Z]:\\/);
        for (const segment of native.slice(3).split('\\')) {
          if (native.length === 3) continue;
          expect(segment).not.toMatch(/^(\.\.?|)$|[. ]$|[\u0000-\u001f<>"|?*:/]|^(con|nul|com1|aux)(\.|$)/i);
        }
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('a path elsewhere', () => {
  it.each([
    ['/x//y/./z/', '/x/y/z'],
    ['~', '/home/mia'],
    ['~/x', '/home/mia/x'],
    ['x', '/home/mia/x'],
    ['~root', '/home/mia/~root'],
    ['/a/../b', '/a/../b'],
    ['a\\b', '/home/mia/a\\b'],
    ['C:\\x', '/home/mia/C:\\x'],
    ['/x%2f..', '/x%2f..'],
    ['x. ', '/home/mia/x. '],
  ])('%s is %s', (given, native) => {
    expect(toNativePath(given, linux)).toBe(native);
  });

  it.each(['', 'a\0b', `/${'x'.repeat(5000)}`])('%j is refused', (given) => {
    expect(() => toNativePath(given, linux)).toThrow(expect.objectContaining({ error: 'path_denied' }));
  });
});
