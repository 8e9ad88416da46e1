import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { OPEN } from './requirements-open.ts';
import { REQUIREMENTS, verifies, type RequirementId } from './requirements.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OWN = [
  'test/requirements.ts',
  'test/requirements-open.ts',
  'test/requirements-transfers.ts',
  'test/requirements.test.ts',
];

const filesOf = (folder: string): string[] =>
  readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.ts') && !OWN.includes(name));

const citationsOf = (text: string): string[] =>
  [...text.matchAll(/\bverifies\(\s*(\[[^\]]*\]|'[^']*')/g)].flatMap(([, ids = '']) =>
    [...ids.matchAll(/'([^']*)'/g)].map(([, id = '']) => id),
  );

const cited = new Map<string, string[]>();
for (const file of [...filesOf('test'), ...filesOf('bench')]) {
  for (const id of citationsOf(readFileSync(`${ROOT}${file}`, 'utf8'))) cited.set(id, [...(cited.get(id) ?? []), file]);
}
// The cast turns the manifest's keys back into their type: Object.keys is typed as string[].
const ids = Object.keys(REQUIREMENTS) as RequirementId[];

describe('requirements', () => {
  it('are each shown by a test, but those that are listed as open', () => {
    if (OPEN.length > 0) console.log(`${OPEN.length} of ${ids.length} not shown yet: ${OPEN.join(', ')}`);
    const open = new Set<string>(OPEN);
    expect(ids.filter((id) => !open.has(id) && !cited.has(id))).toEqual([]);
  });

  it('leave the open list when a test shows them', () => {
    expect(OPEN.filter((id) => cited.has(id))).toEqual([]);
  });

  it('are cited by ids that exist', () => {
    const known = new Set<string>(ids);
    const unknown = [...cited].filter(([id]) => !known.has(id)).map(([id, files]) => `${id} in ${files.join(', ')}`);
    expect(unknown).toEqual([]);
  });

  it('stand in the title of the test that shows them', () => {
    expect(verifies('cli.json', 'prints JSON')).toBe('prints JSON [cli.json]');
    expect(verifies(['cli.json', 'cli.help'], 'prints')).toBe('prints [cli.json, cli.help]');
  });
});
