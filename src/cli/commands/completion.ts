import { EXIT } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { candidatesFor } from '../completion/candidates.ts';
import { FILES_MARK, SCRIPTS, SHELLS, WORD_END, type Shell } from '../completion/scripts.ts';
import { findWanted, type Candidate, type Wanted } from '../completion/wanted.ts';
import { plain } from '../output.ts';

/** Prints what a shell reads; with words behind it, what may stand at their end, one a line. */
const completion: Command = async ({ invocation, io, out }: Cli) => {
  const [name, ...words] = invocation.args;
  const shell = SHELLS.find((one) => one === name) ?? 'bash';
  if (words.length === 0) {
    if (out.json) out.document({ shell, script: SCRIPTS[shell] });
    else io.stdout.write(SCRIPTS[shell]);
    return EXIT.ok;
  }
  const wanted = findWanted(wordsOf(shell, words));
  const candidates = await candidatesFor(wanted, io);
  if (out.json) out.document({ candidates, source: wanted.source ?? null });
  out.print(...(wanted.source === 'files' ? [FILES_MARK] : candidates.map((one) => lineOf(shell, one, wanted))));
  return EXIT.ok;
};

const wordsOf = (shell: Shell, words: readonly string[]): readonly string[] => {
  if (shell === 'bash') return joined(words);
  if (shell !== 'powershell') return words;
  const last = words.at(-1) ?? '';
  return [...words.slice(0, -1), last.endsWith(WORD_END) ? last.slice(0, -WORD_END.length) : last];
};

/** bash takes `--peer=kai` for three words. */
const joined = (words: readonly string[]): string[] => {
  const whole: string[] = [];
  words.forEach((word, at) => {
    const last = whole.at(-1);
    const isBehindEquals = words[at - 1] === '=' && last?.endsWith('=') === true;
    const isEquals = word === '=' && last?.startsWith('--') === true && !last.includes('=');
    if (last !== undefined && (isEquals || isBehindEquals)) whole[whole.length - 1] = `${last}${word}`;
    else whole.push(word);
  });
  return whole;
};

const lineOf = (shell: Shell, { value, description }: Candidate, { before }: Wanted): string => {
  // bash replaces what stands behind the equals sign.
  if (shell === 'bash') return `${before.slice(before.indexOf('=') + 1)}${value}`;
  const word = `${before}${value}`;
  return description === '' ? word : `${word}\t${plain(description)}`;
};

export const commands: Commands = { completion };
