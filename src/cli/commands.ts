/**
 * The commands as plain data. Parsing, help, suggestions, completion and documentation are all derived from it, so it
 * must stay cheap to load: it imports nothing but more of it.
 */
import type { CommandSpec, OptionSpec } from './command-spec.ts';
import { CONTEXT_COMMANDS } from './context-commands.ts';
import { MESSAGE_COMMANDS } from './message-commands.ts';
import { TRANSFER_COMMANDS } from './transfer-commands.ts';
import { KEY_COMMANDS, PEER_COMMANDS } from './trust-commands.ts';

const PEER_OPTION: OptionSpec = {
  name: 'peer',
  value: 'peer',
  summary: 'on that peer; default: where it was started from here',
};
/** Options that every command takes. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { name: 'json', summary: 'print JSON: one document, or one line an event; errors too, on stdout' },
  { name: 'data-dir', value: 'path', summary: "the node's data folder; default: $LOOPSY_DATA_DIR or ~/.loopsy" },
  { name: 'no-color', summary: 'print without colours' },
  { name: 'help', short: 'h', summary: 'show help' },
  { name: 'version', summary: 'print the version' },
];

interface Group {
  readonly summary: string;
  readonly alone: string;
  /** What holds for all of its commands. */
  readonly details?: string;
}

/** Words that stand for a whole group, and the command that they mean alone. */
export const GROUPS: Readonly<Record<string, Group>> = {
  peers: { summary: 'the machines that this one knows', alone: 'peers list' },
  jobs: { summary: 'runs of commands', alone: 'jobs list' },
  transfers: { summary: 'movements of files', alone: 'transfers list' },
  context: {
    summary: 'keys and values that machines and agents share',
    alone: 'context list',
    details:
      'What is set stays until it is deleted, or for --ttl. A node keeps 256 MiB, of that 64 MiB of each peer: `context` in\nconfig.yaml. What does not fit is refused; reading and deleting go on.',
  },
  'context lease': { summary: 'locks with a time', alone: 'context lease list' },
  message: {
    summary: 'messages between machines and agents',
    alone: 'message inbox',
    details:
      'A message waits a week to be read, or --ttl (messages.ttl). Then, and after it was read, acknowledged, refused or\ntaken back, it is kept for a week beyond its life, or until its room is needed.\nOf one sender: 120 a minute; 32 replies in a chain; more than 20 short ones to and fro in two minutes, and both\nrest for five. Each box has 64 MiB, one machine half of an inbox. All of it: `messages` in config.yaml.',
  },
  key: { summary: "this node's key, and keys for programs", alone: 'key list' },
};

/** Every command, in the order of help. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    path: 'up',
    summary: 'set this machine up and start its node, where that is not done',
    examples: [['loopsy up', 'the first command on a new machine; says what to do next, and may be said again']],
  },
  {
    path: 'init',
    summary: 'set this machine up: config, identity, key',
    options: [
      { name: 'no-mcp', summary: 'leave the settings of coding agents alone' },
      {
        name: 'import',
        summary: "take over the settings and addresses of loopsy 1's config.yaml, but no key and no trust",
      },
    ],
    examples: [
      ['loopsy init', 'set up ~/.loopsy; what is there already is kept'],
      ['loopsy init --import', 'says what was taken over and what was not; keeps the old file beside the new one'],
      ['LOOPSY_PORT=19600 loopsy init', 'use another port'],
    ],
  },
  {
    path: 'start',
    summary: "start this machine's node",
    options: [
      { name: 'foreground', summary: 'stay in this terminal; Ctrl-C stops the node' },
      { name: 'lan', summary: 'listen on every address, this time' },
      { name: 'local-only', summary: 'listen on this machine only, this time' },
    ],
    examples: [
      ['loopsy start', 'returns when the node answers'],
      ['loopsy start --foreground', 'for a service manager, or to watch it'],
    ],
  },
  {
    path: 'stop',
    summary: 'stop it; running jobs end, detached ones go on',
    examples: [['loopsy stop', 'returns when it is down']],
  },
  {
    path: 'restart',
    summary: 'stop it and start it again',
    examples: [['loopsy restart', 'after an update']],
  },
  {
    path: 'status',
    summary: 'show the state of the node',
    examples: [
      ['loopsy status', 'exits 3 when the node is down'],
      ['loopsy status --json', 'for scripts'],
    ],
  },
  {
    path: 'doctor',
    summary: 'find what is wrong, and say how to mend it',
    options: [{ name: 'fix', summary: 'mend what can be mended safely: file modes, a node that is down' }],
    examples: [
      ['loopsy doctor', 'exits 1 if something fails'],
      ['loopsy doctor --fix', 'mend it'],
    ],
  },
  {
    path: 'selftest',
    summary: 'try everything on a peer, and say how fast it is',
    args: [{ name: 'peer', optional: true }],
    examples: [
      [
        'loopsy selftest kai',
        'commands, bytes, speed, Ctrl-C, cancel, detached jobs, files, context, messages; exits 1 if something fails',
      ],
      ['loopsy selftest', "this machine's own node"],
      ['loopsy selftest kai --json', 'for scripts'],
    ],
    details:
      'It runs about a dozen short commands there, of the 30 that a peer may run in a minute, and leaves nothing behind.',
  },
  ...PEER_COMMANDS,
  {
    path: 'exec',
    summary: 'run a command on a peer, or on several at once',
    args: [
      { name: 'peer', replacedBy: 'all' },
      { name: 'command', verbatim: true },
    ],
    options: [
      { name: 'all', summary: 'on every peer that is online, instead of naming one' },
      { name: 'cwd', value: 'folder', summary: "run it there; default: the home of the node's user" },
      { name: 'env', value: 'K=V', repeat: true, summary: 'set a variable (repeatable)' },
      { name: 'timeout', value: 'time', summary: 'end it after that: ms, or 30s, 5m, 2h; 0: never' },
      { name: 'no-stdin', short: 'n', summary: "don't forward stdin" },
      { name: 'shell', summary: "run the words as one line of the peer's shell" },
      { name: 'detach', summary: 'print its id and leave it running: it outlives this command and the nodes' },
      { name: 'quiet', summary: 'print nothing of our own but errors' },
    ],
    examples: [
      ['loopsy exec kai ls -la /', 'options behind the command are its own'],
      ['loopsy exec kai -- cat x.bin > y', 'bytes arrive as they are'],
      ['loopsy exec --cwd ~/work --timeout 5m kai make test', 'our options stand before the peer or right behind it'],
      ["loopsy exec kai --shell 'ls *.log | wc -l'", 'pipes and globs of the peer'],
      ['loopsy exec kai --detach make nightly', 'prints the id; `loopsy jobs attach <id>` follows it, from any shell'],
      ['loopsy exec kai,maria uptime', 'on both at once: each line says whose it is, a table at the end'],
      ['loopsy exec --all -- df -h /', 'on every peer that is online; exits 0 only if all did'],
      ['loopsy exec --all --detach make nightly', "prints each peer's name and id; exits 0 only if all began"],
      ['while read f; do loopsy exec -n kai rm "$f"; done', '-n leaves stdin to the loop'],
    ],
    details:
      'Our options stand before the peer or right behind it. The first word there that is none of them, or --, begins\nthe command; from there on everything is the command\'s. stdin is forwarded, Ctrl-C reaches the remote processes\n(twice ends them), and the exit code is the command\'s own (128+n for a signal). When loopsy itself fails, one line\nthat begins "loopsy:" says why, and the exit code is 2 to 6 (6: timed out).\nWhat the command leaves in the background lives on; its output is followed until nothing comes for 5 s.\nWhere a run is ended, what it started ends with it; only a daemon that forked itself away before is out of reach.\nWith --detach there is no time-out but the one you name, and stdin is text of at most 4 MB, sent at the start:\nit is waited for to its end; where nothing comes for 30 s, nothing is started (-n runs it without).\nOn several peers one that hangs or can not be reached holds no other up. stdin is refused there, as it goes to one\nmachine (-n runs them without); with --detach each gets it.',
  },
  {
    path: 'jobs list',
    summary: 'list runs, newest first',
    options: [
      { name: 'all', summary: 'ended ones too' },
      { name: 'peer', value: 'peer', summary: 'on that peer' },
    ],
    examples: [
      ['loopsy jobs', 'what runs or waits on this machine'],
      ['loopsy jobs list --all --peer kai', 'and on a peer, with what has ended'],
    ],
  },
  {
    path: 'jobs show',
    summary: 'show one run',
    args: [{ name: 'job' }],
    options: [PEER_OPTION],
    examples: [['loopsy jobs show 01j8zq0v3m8k2t4n6p8r0s2v4w', 'state, command, folder, exit code']],
  },
  {
    path: 'jobs attach',
    summary: "print a run's output and follow it",
    args: [{ name: 'job' }],
    options: [
      PEER_OPTION,
      { name: 'since', value: 'bytes', summary: 'begin at this cursor; default: at the beginning' },
    ],
    examples: [['loopsy jobs attach 01j8zq0v3m8k2t4n6p8r0s2v4w', 'exits as the run does; Ctrl-C leaves it running']],
  },
  {
    path: 'jobs wait',
    summary: 'wait until runs have ended, without their output',
    args: [{ name: 'job', repeat: true }],
    options: [PEER_OPTION],
    examples: [
      ['loopsy jobs wait 01j8zq0v3m8k2t4n6p8r0s2v4w', 'exits as the run did'],
      ['loopsy jobs wait $a $b', 'exits with 0 if all did'],
    ],
  },
  {
    path: 'jobs kill',
    summary: 'end a run and its whole process tree',
    args: [{ name: 'job' }],
    options: [PEER_OPTION, { name: 'signal', value: 'name', summary: 'send only this signal, e.g. SIGINT' }],
    examples: [
      ['loopsy jobs kill 01j8zq0v3m8k2t4n6p8r0s2v4w', 'end it'],
      ['loopsy jobs kill --signal HUP 01j8zq0v3m8k2t4n6p8r0s2v4w', 'tell it to reload'],
    ],
  },
  ...TRANSFER_COMMANDS,
  ...CONTEXT_COMMANDS,
  ...MESSAGE_COMMANDS,
  ...KEY_COMMANDS,
  {
    path: 'events',
    summary: 'follow what happens on this node',
    examples: [
      ['loopsy events', 'what moves from, to and through this machine, as it begins and ends'],
      ['loopsy events --json', 'one line each, for scripts'],
    ],
  },
  {
    path: 'logs',
    summary: 'show who asked for what',
    options: [
      { name: 'follow', short: 'f', summary: 'go on as it happens' },
      { name: 'peer', value: 'peer', summary: 'requests from or for that peer' },
      { name: 'operation', value: 'name', summary: 'e.g. job.execute' },
      { name: 'since', value: 'time', summary: 'e.g. 2h, 3d or 2026-11-20T09:00' },
      { name: 'denied', summary: 'only what was refused' },
      { name: 'node', summary: "the node's own log instead" },
    ],
    examples: [
      ['loopsy logs -f', 'watch'],
      ['loopsy logs --denied --since 1d', 'what was refused today'],
      ['loopsy logs --node', 'when the node itself has trouble'],
    ],
  },
  {
    path: 'completion',
    summary: 'print what makes a shell complete the words of loopsy',
    args: [
      { name: 'shell', choices: ['bash', 'zsh', 'fish', 'powershell'] },
      { name: 'words', optional: true, verbatim: true },
    ],
    examples: [
      [`echo 'eval "$(loopsy completion bash)"' >> ~/.bashrc`, 'bash; from the next shell on'],
      [`echo 'eval "$(loopsy completion zsh)"' >> ~/.zshrc`, 'zsh; behind the line with compinit'],
      ['loopsy completion fish > ~/.config/fish/completions/loopsy.fish', 'fish'],
      ['loopsy completion powershell >> $PROFILE', 'PowerShell'],
      ['loopsy completion bash -- exec k', 'what may stand at the end of these words'],
    ],
    details: 'Commands, options, peers, keys, runs and transfers; the last four are asked of the running node.',
  },
  {
    path: 'uninstall',
    summary: "remove this machine's node and all its data",
    options: [{ name: 'yes', short: 'y', summary: 'ask nothing' }],
    examples: [
      ['loopsy uninstall', 'names what will be removed, and asks'],
      ['loopsy uninstall --yes', 'for scripts'],
    ],
    details:
      'Runs end, the node stops, and its data folder goes; files in it that are not of loopsy stay. Of a folder that does\nnot look like one of loopsy nothing is touched. The last line says how to remove the command itself.',
  },
];
