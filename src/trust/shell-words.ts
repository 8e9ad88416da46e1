import { decodeAnsi, RULES, type Dialect, type DialectRules } from './shell-dialects.ts';

/** Stands in a word for what only the shell will know: a variable, a substitution, a pattern. */
export const UNKNOWN = '\0';

/** What reading a line gave. */
export interface Reading {
  /** The words of each simple command, wherever it stands; assignments and redirections are left out. */
  readonly commands: readonly (readonly string[])[];
  /** Here-documents and here-strings: data, or commands where a shell reads them. */
  readonly documents: readonly string[];
  /** Values of variables and lists in braces: texts that a command which is not known yet may become. */
  readonly values: readonly string[];
}

/** A line that ends within a quote or nests beyond all use. */
export class UnreadableLine extends Error {
  override readonly name = 'UnreadableLine';
}

/** A reading while it grows; readers of substitutions write into that of their line. */
interface Found {
  readonly commands: string[][];
  readonly documents: string[];
  readonly values: string[];
}

const MAX_DEPTH = 50;
const MAX_DOCUMENTS = 100;
const MAX_COMMANDS = 10_000;
const ASSIGNMENT = /^[A-Za-z_][A-Za-z0-9_]*\+?=/;

/**
 * Finds the commands in a line, without running anything. Where it is in doubt it sees a command too many rather than
 * one too few. One pass; substitutions are read by readers of their own.
 */
class LineReader {
  readonly #found: Found;
  readonly #line: string;
  readonly #dialect: Dialect;
  readonly #rules: DialectRules;
  readonly #depth: number;
  #at: number;
  #words: string[] = [];
  #text: string | undefined;
  #skipNext: 'target' | 'document' | undefined;
  #plain = false;
  /** True behind `A=1` or `>x`: what follows is a program, whatever it is called. */
  #isBare = false;
  #documentCount = 0;
  #openCases = 0;
  #inPattern = false;
  #delimiters: { readonly end: string; readonly quoted: boolean }[] = [];

  constructor(line: string, dialect: Dialect, { at, depth, found }: { at: number; depth: number; found: Found }) {
    if (depth > MAX_DEPTH) throw new UnreadableLine('it nests too deeply');
    this.#found = found;
    this.#line = line;
    this.#dialect = dialect;
    this.#rules = RULES[dialect];
    this.#depth = depth;
    this.#at = at;
  }

  /** Reads to the end, or to the bracket that ends a substitution. @returns where it stopped. */
  read(inSubstitution: boolean): number {
    let open = 0;
    for (; this.#at < this.#line.length; this.#at += 1) {
      const char = this.#line.charAt(this.#at);
      if (char === '(' && !this.#inPattern) open += 1;
      if (char === ')' && this.#inPattern) this.#endPattern();
      else if (char === ')' && inSubstitution && open === 0) break;
      else this.#take(char);
      if (char === ')' && open > 0) open -= 1;
    }
    if (inSubstitution && this.#at >= this.#line.length) throw new UnreadableLine('a bracket is not closed');
    this.#endCommand();
    return this.#at;
  }

  /** Reads text in which only substitutions count, up to an unescaped `end`. @returns where it stopped. */
  readQuoted(end: string | undefined): number {
    for (; this.#at < this.#line.length; this.#at += 1) {
      const char = this.#line.charAt(this.#at);
      if (char === end) return this.#at;
      if (char === '\n' && this.#dialect === 'cmd') break;
      if (char === this.#rules.escape) this.#takeEscape(true);
      else if (!this.#takeExpansion(char)) this.#add(char);
    }
    if (end !== undefined && this.#dialect !== 'cmd') throw new UnreadableLine('a quote is not closed');
    // cmd.exe closes quotes at the end of a line by itself; the end is then read as what it is.
    this.#at -= 1;
    return this.#at;
  }

  #take(char: string): void {
    const { blanks, separators, escape } = this.#rules;
    if (blanks.includes(char)) this.#endWord();
    else if (char === '\n') this.#endLine();
    else if (separators.includes(char)) this.#takeSeparator(char);
    else if (char === '#' && this.#text === undefined && this.#dialect !== 'cmd') this.#skipComment();
    else if (char === escape) this.#takeEscape(false);
    else if (char === "'" && this.#dialect !== 'cmd') this.#takeLiteral();
    else if (char === '"') this.#takeQuoted();
    else if (char === '<' || char === '>') this.#takeRedirection(char);
    else if (!this.#takePattern(char) && !this.#takeExpansion(char)) this.#add(char);
  }

  #add(text: string): void {
    this.#text = (this.#text ?? '') + text;
  }

  #takeEscape(quoted: boolean): void {
    const next = this.#line.charAt(this.#at + 1);
    this.#at += 1;
    if (next === '\n') return;
    const isKept = quoted && this.#dialect === 'sh' && !'$`"\\'.includes(next);
    this.#add(isKept ? this.#rules.escape + next : next);
  }

  #takeLiteral(): void {
    const end = this.#line.indexOf("'", this.#at + 1);
    if (end < 0) throw new UnreadableLine('a quote is not closed');
    this.#add(this.#line.slice(this.#at + 1, end));
    this.#at = end;
  }

  #takeQuoted(): void {
    this.#add('');
    this.#at += 1;
    this.readQuoted('"');
  }

  /** `r?`, `[r]m`, `{rm,-rf}`: what the files there, or the list, decide. */
  #takePattern(char: string): boolean {
    if (this.#dialect !== 'sh' || !'*?[{'.includes(char)) return false;
    const pattern = /[*?]|\[(?:\[:\w+:\]|[^\]\s/]){1,64}\]|\{[^\s{}'"$`]*\}/y;
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#line)?.[0];
    if (found?.startsWith('{') === true && !/,|\.\./.test(found)) return false;
    // `[` alone is a command, `{` a bracket.
    if (found === undefined) return false;
    this.#add(UNKNOWN);
    if (found.length > 1) this.#found.values.push(found);
    this.#at += found.length - 1;
    return true;
  }

  /** Whether `char` begins something that the shell replaces. */
  #takeExpansion(char: string): boolean {
    if (this.#dialect === 'cmd') return this.#takeVariable(char === '%');
    if (char === '`' && this.#dialect === 'sh') return this.#takeBackticks();
    if (char !== '$') return false;
    const next = this.#line.charAt(this.#at + 1);
    if (next === '(') return this.#takeSubstitution();
    if (next === '{') return this.#takeBraces();
    if (next === "'" && this.#dialect === 'sh') return this.#takeAnsi();
    // `$"…"` is translated text.
    if (next === '"' && this.#dialect === 'sh') return true;
    return this.#takeVariable(/[A-Za-z0-9_@*#?$!-]/.test(next));
  }

  #takeVariable(isOne: boolean): boolean {
    if (isOne) this.#add(UNKNOWN);
    if (!isOne || this.#dialect === 'cmd') return isOne;
    const name = /[A-Za-z0-9_]+|[@*#?$!-]/y;
    name.lastIndex = this.#at + 1;
    this.#at += name.exec(this.#line)?.[0].length ?? 0;
    return true;
  }

  /** Reads what begins at the bracket behind the present character as a line of its own. */
  #takeSubstitution(): boolean {
    const reader = this.#readerAt(this.#line, this.#at + 2);
    this.#at = reader.read(true);
    this.#add(UNKNOWN);
    return true;
  }

  #takeBraces(): boolean {
    const reader = this.#readerAt(this.#line, this.#at + 2);
    this.#at = reader.readQuoted('}');
    // `${X:-rm}` may end in a command.
    this.#found.values.push((reader.#text ?? '').replace(/^\w*:?[-=?+]/, ''));
    this.#add(UNKNOWN);
    return true;
  }

  #takeBackticks(): boolean {
    let end = this.#at + 1;
    while (end < this.#line.length && this.#line.charAt(end) !== '`') end += this.#line.charAt(end) === '\\' ? 2 : 1;
    if (end >= this.#line.length) throw new UnreadableLine('a backtick is not closed');
    const reader = this.#readerAt(this.#line.slice(this.#at + 1, end).replaceAll(/\\([`\\$])/g, '$1'), 0);
    reader.read(false);
    this.#at = end;
    this.#add(UNKNOWN);
    return true;
  }

  /** `$'…'`: a quote in which escapes spell characters. */
  #takeAnsi(): boolean {
    const body = /'((?:[^'\\]|\\[\s\S])*)'/y;
    body.lastIndex = this.#at + 1;
    const found = body.exec(this.#line);
    if (found === null) throw new UnreadableLine('a quote is not closed');
    this.#add(decodeAnsi(found[1] ?? ''));
    this.#at += found[0].length;
    return true;
  }

  #readerAt(line: string, at: number): LineReader {
    return new LineReader(line, this.#dialect, { at, depth: this.#depth + 1, found: this.#found });
  }

  #takeRedirection(char: string): void {
    if (this.#line.charAt(this.#at + 1) === '(' && this.#dialect === 'sh') {
      this.#takeSubstitution();
      return;
    }
    // `2>`: the number is not a word.
    if (/^[0-9]+$/.test(this.#text ?? '')) this.#text = undefined;
    this.#endWord();
    this.#isBare ||= this.#words.length === 0;
    const operator = /<<<|<<-?|<>|[<>]&|>>|>\||[<>]/y;
    operator.lastIndex = this.#at;
    const found = operator.exec(this.#line)?.[0] ?? char;
    this.#at += found.length - 1;
    if (found.startsWith('<<') && found !== '<<<' && this.#dialect === 'sh') this.#takeDelimiter();
    else this.#skipNext = found === '<<<' ? 'document' : 'target';
  }

  #takeDelimiter(): void {
    const delimiter = /[ \t]*((?:'[^']*'|"[^"]*"|\\[\s\S]|[^\s;&|<>()'"\\])+)/y;
    delimiter.lastIndex = this.#at + 1;
    const found = delimiter.exec(this.#line);
    if (found === null) throw new UnreadableLine('a here-document has no end word');
    this.#documentCount += 1;
    if (this.#documentCount > MAX_DOCUMENTS)
      throw new UnreadableLine(`it has more than ${MAX_DOCUMENTS} here-documents`);
    const word = found[1] ?? '';
    this.#delimiters.push({ end: word.replaceAll(/['"\\]/g, ''), quoted: /['"\\]/.test(word) });
    this.#at += found[0].length;
  }

  #skipComment(): void {
    const end = this.#line.indexOf('\n', this.#at);
    this.#at = (end < 0 ? this.#line.length : end) - 1;
  }

  #endLine(): void {
    this.#endCommand();
    for (const { end, quoted } of this.#delimiters.splice(0)) {
      const rest = this.#line.slice(this.#at + 1);
      const close = new RegExp(`^\t*${end.replaceAll(/[^\w]/g, '\\$&')}$`, 'm').exec(rest);
      // Without its end it was none, e.g. a shift in `(( 1 << 2 ))`: what follows is commands.
      if (close === null) continue;
      const body = rest.slice(0, close.index);
      this.#found.documents.push(body);
      if (!quoted) this.#readerAt(body, 0).readQuoted(undefined);
      this.#at += 1 + close.index + close[0].length;
    }
  }

  #takeSeparator(char: string): void {
    this.#endCommand();
    if (char === ';' && this.#openCases > 0 && ';&'.includes(this.#line.charAt(this.#at + 1))) {
      this.#at += 1;
      this.#inPattern = true;
    }
  }

  #endPattern(): void {
    this.#text = undefined;
    this.#inPattern = false;
  }

  #endWord(): void {
    const word = this.#text;
    this.#text = undefined;
    const use = this.#skipNext;
    if (word === undefined) return;
    this.#skipNext = undefined;
    if (use === 'document') this.#found.documents.push(word);
    if (use === undefined) this.#takeWord(word);
  }

  #takeWord(word: string): void {
    if (this.#inPattern) {
      if (word === 'esac') this.#endCase();
      return;
    }
    if (this.#plain) {
      if (word === 'in' && this.#words[0] === 'case') this.#beginCase();
      if (word === '{') this.#startOver();
      return;
    }
    if (this.#words.length > 0) this.#words.push(word);
    else this.#takeFirstWord(word);
  }

  #takeFirstWord(word: string): void {
    if (this.#dialect === 'sh' && ASSIGNMENT.test(word)) {
      this.#found.values.push(word.slice(word.indexOf('=') + 1));
      this.#isBare = true;
      return;
    }
    if (word === 'esac') this.#endCase();
    if (!this.#isBare && this.#rules.leading.has(word)) return;
    this.#plain = !this.#isBare && this.#rules.plain.has(word);
    this.#words.push(word);
  }

  #beginCase(): void {
    this.#openCases += 1;
    this.#inPattern = true;
    this.#startOver();
  }

  #endCase(): void {
    this.#openCases = Math.max(0, this.#openCases - 1);
    this.#inPattern = false;
  }

  #endCommand(): void {
    this.#endWord();
    if (this.#words.length > 0 && !this.#plain) this.#found.commands.push(this.#words);
    if (this.#found.commands.length > MAX_COMMANDS)
      throw new UnreadableLine(`it has more than ${MAX_COMMANDS} commands`);
    this.#startOver();
    this.#skipNext = undefined;
  }

  #startOver(): void {
    this.#isBare = false;
    this.#words = [];
    this.#plain = false;
  }
}

/** Reads a line. @throws {UnreadableLine} where it can't be. */
export const readLine = (line: string, dialect: Dialect): Reading => {
  const found: Found = { commands: [], documents: [], values: [] };
  new LineReader(line, dialect, { at: 0, depth: 0, found }).read(false);
  return found;
};
