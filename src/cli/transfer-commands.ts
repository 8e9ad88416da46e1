/** The commands that move files: plain data, as in `commands.ts`. */
import type { ArgSpec, CommandSpec, OptionSpec } from './command-spec.ts';

const OPTIONS: readonly OptionSpec[] = [
  { name: 'dry-run', summary: 'say of each thing what would be done with it, and do nothing' },
  { name: 'checksum', summary: 'compare contents; default: size and time' },
  {
    name: 'exclude',
    value: 'pattern',
    repeat: true,
    summary: 'leave behind what it matches, as in .gitignore (repeatable)',
  },
  { name: 'exclude-from', value: 'file', summary: 'leave behind what the patterns in it match, one a line' },
  { name: 'gitignore', summary: 'leave behind what .gitignore files say, and .git' },
  { name: 'delete', summary: 'remove at the destination what the source does not have' },
  { name: 'update', summary: 'leave alone what is newer at the destination' },
  { name: 'no-clobber', summary: 'leave alone what is there' },
  { name: 'limit', value: 'rate', summary: 'bytes a second at the most, e.g. 500k, 20M or 1Gi' },
  { name: 'detach', summary: 'print its id and leave it to the node: it outlives this command and the node' },
  { name: 'quiet', summary: 'print nothing but errors' },
];

const PEER: ArgSpec = { name: 'peer' };

const RULES = [
  'Interrupted? The same command goes on where it was, and sends only what is missing.',
  'With --delete it then removes nothing from a folder that it has made itself: what is too much in it is named.',
  'What has the same size and time is there already; with --checksum, what has the same contents. Large files are',
  'compared in pieces of 4 MiB at fixed places: what was appended or overwritten is sent alone, an insertion re-sends',
  'what follows it.',
  'Patterns of --exclude are written as in .gitignore. They, and --gitignore, leave out a <src> by its name, too; of x/.',
  'only what is in it. Links stay links; one that leads out of the tree is refused, not followed. setuid bits are never',
  'kept. A file from Windows is executable where it replaces one that is, or begins with #!.',
  'Exits with 1 if a file did not arrive, and names it.',
];

const detailsOf = (...lines: readonly string[]): string => [...lines, ...RULES].join('\n');

const AS_CP = [
  'As with cp -r: into <dest> where that is a folder or ends in /, else as <dest>. x/. and . mean what is in the folder:',
  'it goes into <dest> itself, however often, and with --delete <dest> becomes a mirror of it.',
].join('\n');
const REMOTE_PATHS = [
  "A relative path there starts at the home there, and so does '~/x' (in quotes: else the shell makes it the home here).",
];

const PEER_OPTION: OptionSpec = {
  name: 'peer',
  value: 'peer',
  summary: 'on that peer; default: this machine',
};

/** How files are moved. */
export const TRANSFER_COMMANDS: readonly CommandSpec[] = [
  {
    path: 'send',
    summary: 'send files and folders to a peer',
    args: [PEER, { name: 'src', repeat: true }, { name: 'dest', remote: true }],
    options: OPTIONS,
    examples: [
      ['loopsy send kai report.pdf notes/ inbox/', 'a file and a folder, into inbox/ below the home there'],
      ['loopsy send kai --gitignore --delete site/. www', 'a mirror: what is in www there becomes what is in site'],
      ['loopsy send kai --dry-run --delete site/. www', 'what would that do?'],
      ['loopsy send kai --limit 2M --detach disk.img backup/', 'by itself; `loopsy transfers` shows how far it is'],
      ['pg_dump shop | loopsy send kai - backup/shop.sql', 'stdin, as one file'],
    ],
    details: detailsOf(AS_CP, ...REMOTE_PATHS),
  },
  {
    path: 'pull',
    summary: 'fetch files and folders from a peer',
    args: [PEER, { name: 'src', repeat: true, remote: true }, { name: 'dest' }],
    options: OPTIONS,
    examples: [
      ['loopsy pull kai work/report.pdf .', 'from below the home there, into this folder'],
      ["loopsy pull kai 'logs/*.log' logs/", 'patterns of the peer, in quotes'],
      ['loopsy pull kai --update photos ~/', 'only what is newer there'],
      ['loopsy pull kai --delete site/. site', 'make site here the same as site there'],
      ['loopsy pull kai backup/shop.sql - | psql shop', 'one file, to stdout'],
    ],
    details: detailsOf(AS_CP, ...REMOTE_PATHS),
  },
  {
    path: 'cp',
    summary: 'copy files and folders from any machine to any other',
    args: [{ name: 'from', repeat: true }, { name: 'to' }],
    options: OPTIONS,
    examples: [
      ['loopsy cp kai:work/app.log .', 'as pull does'],
      ['loopsy cp a.txt b.txt kai:inbox/', 'as send does'],
      ['loopsy cp kai:photos maria:backup/', 'from one peer to another, through this machine'],
    ],
    details: detailsOf(
      'Each place is peer:path, or a path of this machine. What has a / before its first colon is a path, and so is C:\\x.',
      AS_CP.replaceAll('<dest>', '<to>'),
      ...REMOTE_PATHS,
    ),
  },
  {
    path: 'ls',
    summary: 'list a folder of a peer',
    args: [PEER, { name: 'path', optional: true, remote: true }],
    examples: [
      ['loopsy ls kai', 'the home there'],
      ['loopsy ls kai work/logs', 'a folder below it'],
      ['loopsy ls kai /etc --json', 'for scripts'],
    ],
  },
  {
    path: 'transfers list',
    summary: 'list what is moved from, to and through this machine, newest first',
    options: [
      { name: 'all', summary: 'ended ones too' },
      { name: 'peer', value: 'peer', summary: 'on that peer' },
    ],
    examples: [
      ['loopsy transfers', 'what goes on now, and who began it'],
      ['loopsy transfers list --all', 'and what has ended: what came from whom'],
    ],
  },
  {
    path: 'transfers show',
    summary: 'show one transfer, and what did not arrive',
    args: [{ name: 'transfer' }],
    options: [PEER_OPTION],
    examples: [['loopsy transfers show 01j8zq0v3m8k2t4n6p8r0s2v4w', 'state, places, files, bytes, failures']],
  },
  {
    path: 'transfers attach',
    summary: 'follow a transfer to its end',
    args: [{ name: 'transfer' }],
    options: [PEER_OPTION, { name: 'quiet', summary: 'print nothing but errors' }],
    examples: [['loopsy transfers attach 01j8zq0v3m8k2t4n6p8r0s2v4w', 'exits as it does; Ctrl-C leaves it running']],
  },
  {
    path: 'transfers cancel',
    summary: 'end a transfer; what has arrived stays',
    args: [{ name: 'transfer' }],
    options: [PEER_OPTION],
    examples: [['loopsy transfers cancel 01j8zq0v3m8k2t4n6p8r0s2v4w', 'sending the same again goes on where it was']],
  },
];
