import type { z } from 'zod';

import { nearest } from '../kernel/nearest.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { CONFIG_KEYS, keysAt } from './schema.ts';

/** The most problems that one error lists. */
const MAX_PROBLEMS = 5;

/** One thing that is wrong with a settings file. */
export interface Problem {
  readonly text: string;
  /** The dotted key that it is about. */
  readonly key?: string;
  /** Counts from 1. */
  readonly line?: number | undefined;
}

/** The error of a settings file that can't be used. */
export const invalidFile = (file: string, problems: readonly Problem[]): LoopsyError => {
  const shown = problems.slice(0, MAX_PROBLEMS).map(({ text, line }) => `${text} (${placeOf(file, line)})`);
  const more = problems.length - shown.length;
  const [first] = problems;
  return new LoopsyError('config_invalid', {
    message: `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
    hint: 'correct the file; nothing was changed',
    details: {
      file,
      problem: problems
        .slice(0, MAX_PROBLEMS)
        .map(({ text }) => text)
        .join('; '),
      ...(first?.line === undefined ? {} : { line: first.line }),
      ...(first?.key === undefined ? {} : { key: first.key }),
    },
  });
};

const placeOf = (file: string, line: number | undefined): string => (line === undefined ? file : `${file}:${line}`);

/** What a schema's issue says to a person. `lineOf` knows where a path stands. */
export const problemsOf = (
  issue: z.core.$ZodIssue,
  lineOf: (path: readonly PropertyKey[]) => number | undefined,
): Problem[] => {
  const key = issue.path.map(String).join('.');
  const line = lineOf(issue.path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((name) => unknownKey(issue.path, name, lineOf([...issue.path, name])));
    case 'invalid_key':
      return [{ text: `${key}: ${issue.issues[0]?.message ?? issue.message}`, key, line }];
    default:
      return [{ text: `${key}: ${issue.message.replace(/^Invalid input: /, '')}`, key, line }];
  }
};

const unknownKey = (path: readonly PropertyKey[], name: string, line: number | undefined): Problem => {
  const dotted = (last: string): string => [...path, last].map(String).join('.');
  const sibling = nearest(name, keysAt(path));
  const guess = sibling === undefined ? nearestElsewhere(name) : dotted(sibling);
  const key = dotted(name);
  return { text: `unknown key "${key}"${guess === undefined ? '' : ` – did you mean "${guess}"?`}`, key, line };
};

/** A key of that name in another section: `port` → `server.port`. */
const nearestElsewhere = (name: string): string | undefined =>
  CONFIG_KEYS.find((key) => key.split('.').at(-1)?.toLowerCase() === name.toLowerCase()) ?? nearest(name, CONFIG_KEYS);

/** The error of a dotted key that is none. */
export const unknownKeyError = (key: string): LoopsyError => {
  const guess = nearest(key, CONFIG_KEYS) ?? nearestElsewhere(key.split('.').at(-1) ?? '');
  return new LoopsyError('invalid_request', {
    message: `unknown key "${key}"`,
    hint: guess === undefined ? `the keys are ${CONFIG_KEYS.join(', ')}` : `did you mean "${guess}"?`,
    details: { field: key },
  });
};
