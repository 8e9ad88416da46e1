import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { editYaml } from '../../src/config/edit.ts';

const text = `# my settings
version: 2   # do not touch

auth:
    # the key
    apiKey:   'abc'    # secret!
server:
  # port: 1
  # host: x

execution:
  env: {A: "1"}   # for runs
`;

describe('an edit of the settings', () => {
  it('of a value that is there changes that value and no other byte', () => {
    expect(editYaml(text, [{ path: ['auth', 'apiKey'], value: 'def' }])).toBe(text.replace("'abc'", '"def"'));
    expect(editYaml(text, [{ path: ['execution', 'env', 'A'], value: 'x, y}' }])).toBe(text.replace('"1"', '"x, y}"'));
    expect(editYaml('a: true\r\nb: 1\r\n', [{ path: ['a'], value: false }])).toBe('a: false\r\nb: 1\r\n');
  });

  it('of a new key keeps all comments', () => {
    const edited = editYaml(text, [
      { path: ['server', 'port'], value: 4000 },
      { path: ['rateLimits', 'execute'], value: 5 },
      { path: ['execution', 'env', 'b.c'], value: 'x' },
      { path: ['execution', 'denylist'], value: ['rm', 'no: thing'] },
    ]);
    for (const comment of [
      '# my settings',
      '# do not touch',
      '# the key',
      '# secret!',
      '# port: 1',
      '# host: x',
      '# for runs',
    ])
      expect(edited).toContain(comment);
    expect(parse(edited)).toEqual({
      version: 2,
      auth: { apiKey: 'abc' },
      server: { port: 4000 },
      execution: { env: { A: '1', 'b.c': 'x' }, denylist: ['rm', 'no: thing'] },
      rateLimits: { execute: 5 },
    });
  });

  it('takes keys out; one that is not there does no harm', () => {
    const edited = editYaml(text, [
      { path: ['execution', 'env', 'A'], value: undefined },
      { path: ['server', 'port'], value: undefined },
      { path: ['power', 'keepAwake'], value: undefined },
    ]);
    expect(parse(edited)).toMatchObject({ execution: { env: {} }, auth: { apiKey: 'abc' } });
    expect(edited).toContain('# port: 1');
  });

  it('replaces lists and texts of several lines', () => {
    const edited = editYaml('a: |\n  one\n  two\nb: [1, 2]\n', [
      { path: ['a'], value: 'three' },
      { path: ['b'], value: [3] },
    ]);
    expect(parse(edited)).toEqual({ a: 'three', b: [3] });
  });

  it('writes every text so that it is read as the same text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(parse(editYaml(text, [{ path: ['auth', 'apiKey'], value }]))).toMatchObject({
          auth: { apiKey: value },
        });
        expect(parse(editYaml(text, [{ path: ['execution', 'env', 'N'], value }]))).toMatchObject({
          execution: { env: { N: value } },
        });
      }),
      { numRuns: 200 },
    );
  });
});
