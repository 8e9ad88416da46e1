import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { followLog } from '../../src/cli/follow-log.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

const line = (event: string, file?: string): string => `${JSON.stringify({ event, file })}\n`;

const open = async (): Promise<{ a: string; b: string }> => {
  const folder = await tempFolder();
  await mkdir(join(folder, 'logs'));
  return { a: join(folder, 'logs', 'a.log'), b: join(folder, 'b.log') };
};

const readAll = async (file: string): Promise<string[]> => {
  const events: string[] = [];
  for await (const text of followLog(file, { follow: false, clock })) events.push(JSON.parse(text).event);
  return events;
};

describe("a node's log that goes on in another file", () => {
  it(verifies('cli.logs', 'is read there, wherever the reading begins'), async () => {
    const { a, b } = await open();
    await writeFile(a, `${line('one')}${line('log moved', b)}`);
    await writeFile(b, `${line('log goes on')}${line('two')}`);
    expect(await readAll(a)).toEqual(['log goes on', 'two']);
    await appendFile(b, line('log moved', a));
    await appendFile(a, `${line('log goes on')}${line('three')}`);
    expect(await readAll(a)).toEqual(['one', 'log moved', 'log goes on', 'three']);
    expect(await readAll(b)).toEqual(['one', 'log moved', 'log goes on', 'three']);
  });

  it('is followed when it moves, and does not run in circles', async () => {
    const { a, b } = await open();
    await writeFile(a, line('one'));
    const events: string[] = [];
    for await (const text of followLog(a, { follow: true, clock })) {
      const { event } = JSON.parse(text);
      events.push(event);
      if (event === 'one') {
        await writeFile(b, line('log goes on'));
        await appendFile(a, line('log moved', b));
      }
      if (event === 'log goes on') await appendFile(b, line('two'));
      if (event === 'two') break;
    }
    expect(events).toEqual(['one', 'log moved', 'log goes on', 'two']);
    await writeFile(a, line('log moved', b));
    await writeFile(b, line('log moved', a));
    expect(await readAll(a)).toEqual(['log moved']);
  });

  it('is empty where there is none', async () => {
    expect(await readAll((await open()).a)).toEqual([]);
  });
});
