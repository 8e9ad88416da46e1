import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { nodePaths } from '../../src/config/paths.ts';
import { openConfigStore, type ConfigStore } from '../../src/config/store.ts';
import { NodeLog } from '../../src/daemon/node-log.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

interface Desk {
  readonly folder: string;
  readonly first: string;
  readonly log: NodeLog;
  readonly config: ConfigStore;
}

const open = async (logging: object = {}): Promise<Desk> => {
  const folder = await tempFolder();
  const paths = nodePaths(folder);
  await writeFile(paths.config, JSON.stringify({ version: 2, auth: { apiKey: 'a'.repeat(64) }, logging }));
  const log = new NodeLog({ file: paths.nodeLog, clock });
  const config = await openConfigStore({ source: { paths }, clock, log: log.log });
  return { folder, first: paths.nodeLog, log, config };
};

const eventsOf = async (file: string): Promise<string[]> =>
  (await readFile(file, 'utf8'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).event);

describe("the node's own log", () => {
  it(verifies('config.logging', 'goes on where logging.file says, live, and each file names the next'), async () => {
    const { folder, first, log, config } = await open();
    await log.follow(config);
    log.log.info('one');
    const elsewhere = join(folder, 'elsewhere', 'loopsy.log');
    await config.change({ 'logging.file': elsewhere });
    log.log.info('two');
    await config.change({ 'logging.file': null });
    log.log.info('three');
    await log.close();
    const seen = (events: string[]): string[] => events.filter((event) => event !== 'config changed');
    expect(seen(await eventsOf(first))).toEqual(['one', 'log moved', 'log goes on', 'three']);
    expect(seen(await eventsOf(elsewhere))).toEqual(['log goes on', 'two', 'log moved']);
  });

  it(
    verifies('config.logging', 'holds what logging.level says, live; where it goes on is said at every level'),
    async () => {
      const { folder, first, log, config } = await open({ level: 'error' });
      await log.follow(config);
      log.log.warn('too little');
      log.log.error('enough');
      await config.change({ 'logging.file': join(folder, 'b.log') });
      await config.change({ 'logging.level': 'debug' });
      log.log.debug('all of it');
      await log.close();
      expect(await eventsOf(first)).toEqual(['enough', 'log moved']);
      expect(await eventsOf(join(folder, 'b.log'))).toEqual(['log goes on', 'all of it']);
    },
  );

  it('stays where it is when the new file can not be written, and says why', async () => {
    const { folder, log, config } = await open();
    await log.follow(config);
    await expect(config.change({ 'logging.file': folder })).rejects.toThrow('it is no file');
    await writeFile(join(folder, 'file'), '');
    await expect(config.change({ 'logging.file': join(folder, 'file', 'x.log') })).rejects.toThrow(
      /can not be written/,
    );
    expect(config.current.logging.file).toContain('node.log');
    await log.close();
  });

  it('refuses the start where it can not be written', async () => {
    const { log, config } = await open({ file: join(await tempFolder(), 'closed', 'x.log') });
    await writeFile(dirname(config.current.logging.file), '');
    await expect(log.follow(config)).rejects.toThrow(LoopsyError);
    await log.close();
  });
});
