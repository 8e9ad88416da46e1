/** Patterns of names, matched in time that grows with name × pattern: nobody's pattern keeps a thread busy. */

type Token =
  | { readonly kind: 'one' }
  | { readonly kind: 'any' }
  | { readonly kind: 'letter'; readonly letter: string }
  | { readonly kind: 'set'; readonly has: (letter: string) => boolean };

/** Tells whether a name matches. */
export type NameTest = (name: string) => boolean;

const CLASSES: Readonly<Record<string, RegExp>> = {
  alpha: /^[A-Za-z]$/,
  digit: /^\d$/,
  alnum: /^[A-Za-z\d]$/,
  upper: /^[A-Z]$/,
  lower: /^[a-z]$/,
  space: /^\s$/,
  blank: /^[ \t]$/,
  punct: /^[!-/:-@[-`{-~]$/,
  xdigit: /^[\dA-Fa-f]$/,
  cntrl: /^[\0-\x1f\x7f]$/,
  print: /^[ -~]$/,
  graph: /^[!-~]$/,
};

/** The test of a `[…]` and what stands behind it; undefined where it has no end. */
const readSet = (letters: readonly string[], from: number): { token: Token; next: number } | undefined => {
  let at = from;
  const isNot = letters[at] === '!' || letters[at] === '^';
  if (isNot) at += 1;
  const tests: ((letter: string) => boolean)[] = [];
  for (let first = true; ; first = false) {
    const letter = letters[at];
    if (letter === undefined) return undefined;
    if (letter === ']' && !first) break;
    const named = letter === '[' && letters[at + 1] === ':' ? classAt(letters, at + 2) : undefined;
    if (named !== undefined) {
      tests.push((found) => named.test.test(found));
      at = named.next;
      continue;
    }
    const low = letterAt(letters, at);
    if (low === undefined) return undefined;
    const isRange = letters[low.next] === '-' && letters[low.next + 1] !== undefined && letters[low.next + 1] !== ']';
    const high = isRange ? letterAt(letters, low.next + 1) : low;
    if (high === undefined) return undefined;
    // Also of a range that is none its begin counts, as git has it.
    tests.push((found) => found === low.letter || (found >= low.letter && found <= high.letter));
    at = high.next;
  }
  return { token: { kind: 'set', has: (letter) => tests.some((test) => test(letter)) !== isNot }, next: at + 1 };
};

const letterAt = (letters: readonly string[], at: number): { letter: string; next: number } | undefined => {
  const isEscaped = letters[at] === '\\';
  const letter = letters[isEscaped ? at + 1 : at];
  return letter === undefined ? undefined : { letter, next: at + (isEscaped ? 2 : 1) };
};

const classAt = (letters: readonly string[], from: number): { test: RegExp; next: number } | undefined => {
  const end = letters.indexOf(':', from);
  if (end < 0 || letters[end + 1] !== ']') return undefined;
  const test = CLASSES[letters.slice(from, end).join('')];
  return test === undefined ? undefined : { test, next: end + 2 };
};

const tokensOf = (pattern: string): Token[] | undefined => {
  const letters = Array.from(pattern);
  const tokens: Token[] = [];
  for (let at = 0; at < letters.length;) {
    const letter = letters[at] ?? '';
    if (letter === '*' || letter === '?') {
      if (letter === '?' || tokens.at(-1)?.kind !== 'any')
        tokens.push(letter === '*' ? { kind: 'any' } : { kind: 'one' });
      at += 1;
    } else if (letter === '[') {
      const set = readSet(letters, at + 1);
      if (set === undefined) return undefined;
      tokens.push(set.token);
      at = set.next;
    } else {
      const found = letterAt(letters, at);
      if (found === undefined) return undefined;
      tokens.push({ kind: 'letter', letter: found.letter });
      at = found.next;
    }
  }
  return tokens;
};

const fits = (token: Token | undefined, letter: string): boolean => {
  if (token === undefined) return false;
  if (token.kind === 'set') return token.has(letter);
  return token.kind === 'letter' ? token.letter === letter : token.kind === 'one';
};

/** The last star takes one more wherever what follows it does not fit. */
const matchTokens = (tokens: readonly Token[], letters: readonly string[]): boolean => {
  let [at, token, star, starAt] = [0, 0, -1, 0];
  while (at < letters.length) {
    if (tokens[token]?.kind === 'any') {
      [star, starAt] = [token, at];
      token += 1;
    } else if (fits(tokens[token], letters[at] ?? '')) {
      at += 1;
      token += 1;
    } else if (star >= 0) {
      starAt += 1;
      [at, token] = [starAt, star + 1];
    } else return false;
  }
  while (tokens[token]?.kind === 'any') token += 1;
  return token === tokens.length;
};

/** A test for one name: `*`, `?`, `[a-z]`, `\` before what means itself. Undefined where the pattern has no meaning. */
export const nameTest = (pattern: string, foldsCase: boolean): NameTest | undefined => {
  const same = foldsCase ? (text: string): string => text.toUpperCase().toLowerCase() : (text: string): string => text;
  const plain = same(pattern);
  if (!/[*?[\\]/.test(plain)) return (name) => same(name) === plain;
  const tokens = tokensOf(plain);
  if (tokens === undefined) return undefined;
  return (name) => matchTokens(tokens, Array.from(same(name)));
};

/** True where a shell would look for names. */
export const isPattern = (text: string): boolean => /(?<!\\)(?:\\\\)*(?:[*?]|\[[^\]]+\]|\{[^{}]*,[^{}]*\})/.test(text);

/** What it says where it is no pattern after all: the characters behind its backslashes. */
export const unescaped = (text: string): string => text.replaceAll(/\\(.)/gsu, '$1');

const MAX_BRACES = 1000;

/** `a{b,c}d` → `abd`, `acd`, as a shell does before it looks for names. Undefined where that is more than a thousand. */
export const expandBraces = (text: string): string[] | undefined => {
  const done: string[] = [];
  const open = [text];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const group = /^((?:[^{}\\]|\\.|[{](?![^{}]*,[^{}]*\})|\})*?)\{([^{}]*,[^{}]*)\}(.*)$/su.exec(next);
    if (group === null) {
      done.push(next);
      if (done.length > MAX_BRACES) return undefined;
      continue;
    }
    const [, before = '', inside = '', behind = ''] = group;
    const parts = inside.split(',').map((part) => before + part + behind);
    if (open.length + parts.length > MAX_BRACES) return undefined;
    open.push(...parts.reverse());
  }
  return [...new Set(done)];
};
