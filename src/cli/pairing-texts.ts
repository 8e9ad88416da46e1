import type { OutputOf } from '../protocol/operations.ts';
import type { Cli } from './cli.ts';
import { plain, type Paint } from './output.ts';
import type { PairRun } from './pairing.ts';
import { qrLines } from './qr.ts';

type Status = OutputOf<'pair.status'>;
type Peer = NonNullable<Status['peer']>;

/** `482913` as it is read aloud: `482 913`. */
const inGroups = (digits: string): string =>
  /^\d+$/.test(digits) ? digits.replaceAll(/(\d{3})(?=\d)/g, '$1 ') : digits;

/** Digits that are seen across the room. */
export const showDigits = ({ out }: Cli, code: string): void => {
  const text = inGroups(code).split('').join(' ');
  const bar = '─'.repeat(text.length + 6);
  out.print('', `  ┌${bar}┐`, `  │   ${out.paint.bold(text)}   │`, `  └${bar}┘`, '');
};

/** An invitation is copied, or read by a phone. */
export const showInvitation = async ({ out, io: { stdout } }: Cli, code: string): Promise<void> => {
  const qr = out.json ? [] : await qrLines(code, { stdout, paint: out.paint });
  out.print('', code, '', ...(qr.length === 0 ? [] : [...qr, '']));
};

/** True for a code whose secret is proof enough: there is no number to compare. */
export const isInvitation = (code: string | undefined): boolean => code?.startsWith('loopsy-') === true;

/** What two people compare. */
export const numberLines = ({ sas = '' }: Status, paint: Paint): string[] => [
  'Both screens must show:',
  '',
  `      ${paint.bold(inGroups(sas))}`,
  '',
  'Anything else there, or an error, means no.',
];

/** What a yes will do here. */
export const consequences = (
  { trusted, name, proposedName, clash }: Peer,
  { choices, words }: Pick<PairRun, 'choices' | 'words'>,
): string[] => {
  const isRenamed = !trusted && clash === undefined && name !== proposedName;
  return [
    ...(trusted ? ['It is trusted here already: what you do not change stays.'] : []),
    ...(!trusted || choices.grant !== undefined ? [`With your yes it ${words}.`] : []),
    ...(isRenamed || (trusted && choices.name !== undefined) ? [`It will be called ${plain(name)} here.`] : []),
  ];
};

/** Another machine has the name that this one would get. */
export const clashLines = (taken: string, { nodeId, name }: { nodeId: string; name: string }): string[] => [
  `Another machine is called ${taken} here (${nodeId.slice(0, 8)}), with another key: the same machine set up anew, or one that poses as it.`,
  `No keeps both, and calls the new one ${plain(name)}; yes drops the trust in the old one.`,
];
