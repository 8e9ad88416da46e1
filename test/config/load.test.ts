import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { loadConfig, parseConfig } from '../../src/config/load.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { API_KEY, errorOf, MINIMAL, sourceIn } from './source.ts';
import { verifies } from '../requirements.ts';

const source = sourceIn('/home/kai/.loopsy');
const FILE = '/home/kai/.loopsy/config.yaml';
const problem = (text: string): Promise<LoopsyError> => errorOf(() => parseConfig(text, source));

describe('a settings file', () => {
  it('gives what it says, and defaults for the rest', () => {
    const config = parseConfig(
      `${MINIMAL}
server: {port: 4000, hostname: "Kai’s Büro Mac"}
tls:
  pinnedCerts: {desk: "${'AB:'.repeat(31)}AB"}
execution:
  # nothing but comments
discovery:
  manualPeers: [{address: 10.0.0.7}, {address: "fe80::1", port: 7}]
`,
      source,
    );
    expect(config.server).toEqual({ port: 4000, host: '0.0.0.0', hostname: 'Kai’s Büro Mac' });
    expect(config.tls.pinnedCerts).toEqual({ desk: 'ab'.repeat(32) });
    expect(config.execution.maxConcurrent).toBe(10);
    expect(config.discovery.manualPeers).toEqual([
      { address: '10.0.0.7', port: 19532 },
      { address: 'fe80::1', port: 7 },
    ]);
  });

  it('has ~ expanded in its paths, and Windows paths kept as they are written', () => {
    const { transfer, logging } = parseConfig(
      `${MINIMAL}
transfer:
  allowedPaths: ["~", ~/src, /srv, 'C:\\x', C:/x, /c/x, '\\\\nas\\share']
  deniedPaths: [~/private]
logging:
  file: ~/node.log
`,
      source,
    );
    expect(transfer.allowedPaths).toEqual([
      '/home/kai',
      '/home/kai/src',
      '/srv',
      'C:\\x',
      'C:/x',
      '/c/x',
      '\\\\nas\\share',
    ]);
    expect(transfer.deniedPaths).toEqual(['/home/kai/private']);
    expect(logging.file).toBe('/home/kai/node.log');
  });

  it('comes behind the port of the environment', () => {
    expect(parseConfig(`${MINIMAL}server: {port: 1}`, { ...source, port: 4711 }).server.port).toBe(4711);
  });

  it('that is missing is an error that names init', async () => {
    const error = await errorOf(() => loadConfig(sourceIn('/nowhere')));
    expect(error).toMatchObject({ error: 'config_invalid', exit: 1, details: { missing: true } });
    expect(`${error.message} ${error.hint}`).toMatch(/no .*config\.yaml.*`loopsy init`/);
  });

  it('that can not be read is an error that says why', async () => {
    const folder = await tempFolder();
    const { paths } = sourceIn(folder);
    await writeFile(paths.config, new Uint8Array([0xff, 0xfe, 0x00]));
    expect((await errorOf(() => loadConfig(sourceIn(folder)))).message).toContain(`${paths.config} can not be read`);
    await writeFile(paths.config, 'x'.repeat(2_000_000));
    expect((await errorOf(() => loadConfig(sourceIn(folder)))).message).toContain('2000000 bytes');
  });

  it('that is locked away says why', async ({ skip }) => {
    skip(process.platform === 'win32' || process.getuid?.() === 0, 'root and Windows can read every file');
    const folder = await tempFolder();
    const { paths } = sourceIn(folder);
    await writeFile(paths.config, MINIMAL);
    await chmod(paths.config, 0);
    expect((await errorOf(() => loadConfig(sourceIn(folder)))).message).toContain('EACCES');
  });

  it(verifies('config.v1', 'of the predecessor is an error that says `loopsy init --import`'), async () => {
    const error = await problem('server:\n  port: 19532\nunknown: 1\n');
    expect(`${error.message} ${error.hint}`).toMatch(/no "version: 2".*`loopsy init --import`/s);
    expect(error.details).toMatchObject({ predecessor: true });
  });

  it('of a newer loopsy is an error that says so', async () => {
    expect((await problem('version: 3\n')).message).toContain('has version 3; this loopsy reads version 2');
  });

  it.each(['', '# nothing\n', '---\n'])('that is empty (%j) never means defaults', async (text) => {
    expect((await problem(text)).message).toContain('the file is empty');
  });

  it.each(['just text', '- a list', '42', 'null'])('that holds no keys (%j) is an error', async (text) => {
    expect((await problem(text)).message).toMatch(/holds no keys|is empty/);
  });
});

describe('what is wrong in a settings file', () => {
  it.each([
    [`${MINIMAL}exection:\n  env: {}\n`, 'unknown key "exection" – did you mean "execution"?', 4],
    [`${MINIMAL}\n# x\nserver:\n  prot: 1\n`, 'unknown key "server.prot" – did you mean "server.port"?', 7],
    [`${MINIMAL}execution: {denyList: []}\n`, 'unknown key "execution.denyList" – did you mean "execution.denylist"?', 4],
    [`${MINIMAL}port: 19532\n`, 'unknown key "port" – did you mean "server.port"?', 4],
    [`${MINIMAL}discovery:\n  manualPeers:\n    - address: a\n      prot: 1\n`,
      'unknown key "discovery.manualPeers.0.prot" – did you mean "discovery.manualPeers.0.port"?', 7],
    [`${MINIMAL}zzzzzzzzzz: 1\n`, 'unknown key "zzzzzzzzzz"', 4],
    [`${MINIMAL}server:\n  port: 99999\n`, 'server.port: Too big: expected number to be <=65535', 5],
    [`${MINIMAL}server:\n  port: "19532"\n`, 'server.port: expected number, received string', 5],
    [`${MINIMAL}server:\n  port:\n`, 'server.port: expected number, received null', 5],
    [`${MINIMAL}server:\n  hostname: "a\\nb"\n`, 'server.hostname: a host name has 1–255 visible characters', 5],
    [`${MINIMAL}server: 19532\n`, 'server: expected object, received number', 4],
    [`${MINIMAL}tls:\n  enabled: yes\n`, 'tls.enabled: expected boolean, received string', 5],
    [`${MINIMAL}tls:\n  pinnedCerts:\n    desk: abc\n`, 'tls.pinnedCerts.desk: a fingerprint has 64 hex digits', 6],
    [`${MINIMAL}transfer:\n  allowedPaths:\n    - src\n`, 'transfer.allowedPaths.0: a path must be absolute, or begin with ~/', 6],
    [`${MINIMAL}execution:\n  env:\n    N: 1\n`, 'execution.env.N: expected string, received number', 6],
    [`${MINIMAL}  allowedKeys: {ci: short}\n`, 'auth.allowedKeys.ci: a key has 32–256 characters', 4],
    [`${MINIMAL}  allowedKeys: {"c i": ${'b'.repeat(32)}}\n`, 'auth.allowedKeys.c i: a key name has', 4],
    [`${MINIMAL}  allowedKeys: {ci: ${API_KEY}}\n`, 'auth: two names have the same key', 2],
    ['version: 2\nauth: {}\n', "auth.apiKey: the owner's key is missing", 2],
    [`version: 2\nauth: {apiKey: ${'1'.repeat(64)}}\n`, 'auth.apiKey: expected string, received number', 2],
    ['version: 2\nauth: {apiKey: abc}\n', "auth.apiKey: the owner's key has 64 hex digits", 2],
  ])(verifies('config.strict', 'is named with file, line and fix: %#'), async (text, message, line) => {
    const error = await problem(text);
    expect(error.error).toBe('config_invalid');
    expect(error.message).toContain(message);
    expect(error.message).toContain(`(${FILE}:${line})`);
    expect(error.details).toMatchObject({ file: FILE, line });
  }); // prettier-ignore

  it.each([
    ['version: 2\nserver: [1\n', 3],
    ['version: 2\na: b: c\n', 2],
    ['version: 2\nserver:\n\tport: 1\n', 3],
    ['version: 2\nserver: {port: 1\n', 3],
    ['version: 2\n---\nversion: 2\n', 2],
    ['version: 2\nserver: !!js/function x\n', 2],
  ])('as YAML is named with its line: %#', async (text, line) => {
    expect((await problem(text)).message).toContain(`(${FILE}:${line})`);
  });

  it('as a key that stands twice is an error, at the second one', async () => {
    const error = await problem(`${MINIMAL}server:\n  port: 1\n  port: 2\n`);
    expect(error.message).toBe(`the key "port" stands twice (${FILE}:6)`);
  });

  it('as a missing owner’s key says how to write one', async () => {
    expect((await problem('version: 2\n')).message).toContain(
      "auth: the owner's key is missing: write 64 random hex digits there, in quotes",
    );
  });

  it('is listed together, five at most', async () => {
    const text = `${MINIMAL}${Array.from({ length: 7 }, (_, at) => `qqqqqq${at}: 1\n`).join('')}`;
    const { message } = await problem(text);
    expect(message.match(/unknown key/g)).toHaveLength(5);
    expect(message).toContain('; and 2 more');
  });

  it('never shows a key of the owner', async () => {
    const secret = 'f00d'.repeat(15);
    const { message } = await problem(`version: 2\nauth: {apiKey: ${secret}}\nauth: {apiKey: ${secret}}\n`);
    expect(message).not.toContain('f00d');
    expect((await problem(`version: 2\nauth: {apiKey: ${secret}}\n`)).message).not.toContain('f00d');
  });

  it('an alias bomb and an alias of nothing are errors', async () => {
    const levels = Array.from({ length: 12 }, (_, at) => `l${at + 1}: &l${at + 1} [${`*l${at},`.repeat(9)}]`).join(
      '\n',
    );
    expect((await problem(`version: 2\nl0: &l0 [x]\n${levels}\n`)).error).toBe('config_invalid');
    expect((await problem('version: 2\nserver: *none\n')).message).toContain('none');
    expect((await problem(`${MINIMAL}execution: &e {env: *e}\n`)).error).toBe('config_invalid');
  });

  it('a key called __proto__ changes nothing but the answer', async () => {
    expect((await problem(`${MINIMAL}__proto__: {polluted: true}\n`)).message).toContain('__proto__');
    expect({}).not.toHaveProperty('polluted');
  });

  it('whatever it is, it is an error of ours or a whole configuration', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'grapheme' }),
      fc.json(),
      fc.string().map((tail) => MINIMAL + tail),
    );
    fc.assert(
      fc.property(text, (yaml) => {
        try {
          expect(parseConfig(yaml, source).auth.apiKey).toBe(API_KEY);
        } catch (error) {
          expect(error).toBeInstanceOf(LoopsyError);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a file of somebody’s first attempt is read from its folder', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'config.yaml'), `\uFEFF${MINIMAL.replaceAll('\n', '\r\n')}`);
    const { config } = await loadConfig(sourceIn(folder));
    expect(config.auth.apiKey).toBe(API_KEY);
  });
});
