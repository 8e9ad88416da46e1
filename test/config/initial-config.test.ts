import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { writeInitialConfig } from '../../src/config/initial-config.ts';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { API_KEY, errorOf, MINIMAL, sourceIn } from './source.ts';

describe('the first settings file', () => {
  it('is read with the defaults, and is its user’s alone', async () => {
    const source = sourceIn(join(await tempFolder(), '.loopsy'));
    await writeInitialConfig(source.paths, { apiKey: API_KEY }, systemClock);
    const { config } = await loadConfig(source);
    expect(config).toEqual(parseConfig(MINIMAL, source));
    if (process.platform !== 'win32') {
      expect((await stat(source.paths.config)).mode & 0o777).toBe(0o600);
      expect((await stat(source.paths.dataDir)).mode & 0o777).toBe(0o700);
    }
  });

  it('holds a key of digits alone as a text', async () => {
    const source = sourceIn(await tempFolder());
    await writeInitialConfig(source.paths, { apiKey: '1'.repeat(64) }, systemClock);
    expect((await loadConfig(source)).config.auth.apiKey).toBe('1'.repeat(64));
  });

  it('holds the port that was asked for', async () => {
    const source = sourceIn(await tempFolder());
    await writeInitialConfig(source.paths, { apiKey: API_KEY, port: 4711 }, systemClock);
    expect((await loadConfig(source)).config.server.port).toBe(4711);
  });

  it('gives hints that work as they stand, once they are no comments', async () => {
    const source = sourceIn(await tempFolder());
    await writeInitialConfig(source.paths, { apiKey: API_KEY }, systemClock);
    const text = await readFile(source.paths.config, 'utf8');
    const [head = '', hints = ''] = text.split('# Some of what can be set, with the defaults:\n');
    const used = parseConfig(head + hints.replaceAll(/^# ?/gm, ''), source);
    expect(used).toEqual({
      ...parseConfig(MINIMAL, source),
      server: { port: 19532, host: '0.0.0.0', hostname: 'my-laptop' },
    });
  });

  it('never replaces one that is there', async () => {
    const source = sourceIn(await tempFolder());
    await writeInitialConfig(source.paths, { apiKey: API_KEY }, systemClock);
    const error = await errorOf(() => writeInitialConfig(source.paths, { apiKey: 'b'.repeat(64) }, systemClock));
    expect(error.error).toBe('conflict');
    expect((await loadConfig(source)).config.auth.apiKey).toBe(API_KEY);
  });
});
