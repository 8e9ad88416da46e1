import { type ErrorName, LoopsyError } from '../protocol/errors.ts';
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

/** Who it is, as far as that is proved. */
export const machineLine = ({ proposedName, nodeId, address }: Peer, paint: Paint): string => {
  const at = address === undefined ? '' : `, at ${plain(address)}`;
  return `The other machine is ${paint.bold(plain(proposedName))} (${nodeId.slice(0, 8)}${at}).`;
};

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

/** Another machine has the name that this one would get; and what it will be called beside it. */
export const clashLines = ({ name: taken, nodeId }: NonNullable<Peer['clash']>, { name }: Peer): string[] => [
  `Another machine is called ${plain(taken)} here (${nodeId.slice(0, 8)}), with another key: the same machine set up anew, or one that poses as it.`,
  `Both are kept, and the new one is called ${plain(name)}.`,
];

/** Why a pairing is over. */
export const failureOf = ({ error = 'internal', reason = 'the pairing failed', hint }: Status): LoopsyError =>
  // The node's own word, from the same catalogue.
  new LoopsyError(error as ErrorName, { message: reason, ...(hint === undefined ? {} : { hint }) });

/** The node was lost while it kept the yes. */
export const perhapsKept = (cause: LoopsyError): LoopsyError =>
  new LoopsyError('outcome_unknown', {
    message: 'the node ended before it answered: whether your yes was kept is not known',
    hint: '`loopsy start`, then `loopsy peers`: a yes that was kept goes on by itself',
    cause,
  });

/** The other person's time is over. */
export const silent = (role: PairRun['role']): LoopsyError =>
  new LoopsyError('request_timeout', {
    message: 'the other side did not answer in time',
    hint:
      role === 'joiner'
        ? 'your yes is kept, and this machine goes on asking for a day: `loopsy peers` shows the other once it is there'
        : 'your yes is kept, and counts for a day: `loopsy peers` shows the other once it said yes',
  });
