import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { endsOfSend } from '../../../src/cli/transfer-input.ts';
import { whatWords } from '../../../src/cli/transfer-words.ts';
import { transferInputSchema } from '../../../src/protocol/transfers.ts';
import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

const named = (count: number): string[] => Array.from({ length: count }, (_, index) => `args/${index}`);

describe('what a shell has made of a star', () => {
  it(verifies('transfers.sources', 'arrives, however many it is, and a row names a hundred'), async () => {
    const { home, move, write } = await localNode();
    const sources = named(1200);
    await write(Object.fromEntries(sources.map((path) => [path, path])));
    const ended = await move({ sources, dest: 'to/' });
    expect(ended).toMatchObject({ outcome: 'done', files: { done: 1200 }, moreSources: 1100 });
    expect(ended.sources).toHaveLength(100);
    expect(whatWords(ended)).toBe('args/0, args/1 and 1198 more');
    expect(await readdir(join(home, 'to'))).toHaveLength(1200);
  });

  it(verifies('transfers.sources', 'is refused in words where it is too much, by the command and by the node'), () => {
    const args = ['kai', ...named(10_001), 'x/'];
    const invocation = { args } as unknown as Parameters<typeof endsOfSend>[0]['invocation'];
    const io = { cwd: '/', platform: 'linux' } as const;
    expect(() => endsOfSend({ invocation, io })).toThrow('10001 sources are too many: at most 10000');
    expect(transferInputSchema.safeParse({ sources: named(10_000), dest: 'x' }).success).toBe(true);
    const refused = transferInputSchema.safeParse({ sources: named(10_001), dest: 'x' });
    expect(refused.error?.issues[0]?.message).toContain('name the folder that they are in');
  });
});
