/** The commands about whom this machine trusts, and for what: plain data, as in `commands.ts`. */
import type { ArgSpec, CommandSpec, OptionSpec } from './command-spec.ts';

const FOLDER: OptionSpec = {
  name: 'folder',
  value: 'path',
  repeat: true,
  summary: 'below full: a folder that files (later tasks, too) may use; default: none (repeatable)',
};
const EXPIRES: OptionSpec = {
  name: 'expires',
  value: 'time',
  summary: 'how long it holds, e.g. 12h or 30d; default: for ever',
};
const REACH: OptionSpec = {
  name: 'reach',
  value: 'peer',
  repeat: true,
  summary: 'only these peers through this node (repeatable); all or none',
};
const LEVEL: ArgSpec = { name: 'level', choices: ['observe', 'collaborate', 'full'] };
const LEVEL_DETAILS =
  'observe: see the state; read the shared context, and files in the folders that --folder lists\ncollaborate: write both, too (files that it changes may run when you build)\n  send messages; run tasks there (a feature to come)\nfull: run any command, so anything that you can do here';

/** How machines come to trust each other, and what they may. */
export const PEER_COMMANDS: readonly CommandSpec[] = [
  {
    path: 'pair',
    summary: 'trust another machine, and be trusted: by a code that one shows and the other enters',
    args: [{ name: 'address', optional: true }],
    options: [
      {
        name: 'code',
        value: 'code',
        summary: 'the code, or the invitation, that the other machine shows; - reads it from stdin',
      },
      { name: 'invite', summary: 'show an invitation for scripts: long, used once, and the yes of this side' },
      { name: 'grant', value: 'level', summary: 'what it may do here: observe, collaborate or full (default)' },
      FOLDER,
      { name: 'name', value: 'name', summary: 'what to call it here; default: its host name' },
      { name: 'yes', short: 'y', summary: 'compare nothing: the code alone protects' },
    ],
    examples: [
      ['loopsy pair', 'show a code and wait'],
      ['loopsy pair 192.168.1.20', 'on the other machine: enter it, compare the numbers, say yes on both'],
      ['loopsy pair --invite --json', 'for scripts: the first line holds the invitation'],
      ['… | loopsy pair kai.local --code - --yes', 'for scripts, on the other machine: the invitation comes in'],
    ],
    details: LEVEL_DETAILS,
  },
  {
    path: 'connect',
    summary: 'trust another machine, by its fingerprint',
    args: [{ name: 'address', optional: true }],
    options: [
      {
        name: 'fingerprint',
        value: 'hex',
        summary: "the other machine's fingerprint, as `loopsy status` shows it there",
      },
      { name: 'yes', short: 'y', summary: 'ask nothing (needs --fingerprint)' },
      { name: 'name', value: 'name', summary: 'what to call it here; default: its host name' },
      { name: 'grant', value: 'level', summary: 'what it may do here: observe, collaborate or full (default)' },
      FOLDER,
    ],
    examples: [
      ['loopsy connect', 'step by step; do the same on the other machine'],
      ['loopsy connect 192.168.1.20', 'compare fingerprints, then say yes'],
      ['loopsy connect kai.local --fingerprint 3f9a… --yes', 'for scripts'],
    ],
    details: LEVEL_DETAILS,
  },
  {
    path: 'peers list',
    summary: 'list peers',
    examples: [
      ['loopsy peers', 'every trusted node and every address added by hand'],
      ['loopsy peers --json', 'for scripts'],
    ],
  },
  {
    path: 'peers add',
    summary: 'add an address',
    args: [{ name: 'address' }, { name: 'port', optional: true }],
    options: [{ name: 'name', value: 'name', summary: 'what to call it here' }],
    examples: [
      ['loopsy peers add 192.168.1.20', 'port 19532'],
      ['loopsy peers add kai.local 19600', 'another port'],
    ],
    details: 'Nothing is trusted by this: `loopsy pair` does that.',
  },
  {
    path: 'peers show',
    summary: 'show one peer',
    args: [{ name: 'peer' }],
    examples: [['loopsy peers show kai', 'by name, nodeId prefix (≥ 4) or address']],
  },
  {
    path: 'peers remove',
    summary: 'stop trusting a peer, at once',
    args: [{ name: 'peer' }],
    options: [{ name: 'keep-runs', summary: 'leave running what it started here' }],
    examples: [['loopsy peers remove kai', 'open connections end too, and the other side is told']],
  },
  {
    path: 'peers grant',
    summary: 'set what a peer may do here',
    args: [{ name: 'peer' }, LEVEL],
    options: [FOLDER, EXPIRES],
    examples: [
      ['loopsy peers grant kai observe', 'it sees the state, and no file'],
      ['loopsy peers grant kai collaborate --folder ~/work --expires 30d', 'for a month; files in one folder'],
    ],
    details: LEVEL_DETAILS,
  },
  {
    path: 'peers revoke',
    summary: 'take away all that a peer may do here',
    args: [{ name: 'peer' }],
    examples: [['loopsy peers revoke kai', 'it stays known; `loopsy peers grant` gives it back']],
  },
  {
    path: 'peers rename',
    summary: 'change what a peer is called here',
    args: [{ name: 'peer' }, { name: 'name' }],
    examples: [['loopsy peers rename kais-macbook-pro kai', 'names are local to this machine']],
  },
];

/** Keys of this node's owner and of programs. */
export const KEY_COMMANDS: readonly CommandSpec[] = [
  {
    path: 'key list',
    summary: 'list the keys of programs',
    examples: [['loopsy key list', 'names and levels; secrets are not kept']],
  },
  {
    path: 'key show',
    summary: "print the owner's key",
    options: [{ name: 'reveal', summary: 'even where stdout is not a terminal' }],
    examples: [['loopsy key show', 'whoever has it can do anything on this node']],
  },
  {
    path: 'key generate',
    summary: "replace the owner's key, at once, and print the new one",
    options: [{ name: 'reveal', summary: 'even where stdout is not a terminal' }],
    examples: [
      ['loopsy key generate', 'peers are not affected, nothing is restarted'],
      ['loopsy key generate --reveal --json', 'for scripts'],
    ],
  },
  {
    path: 'key add',
    summary: 'make a key for a program',
    args: [{ name: 'name' }],
    options: [
      { name: 'grant', value: 'level', summary: 'observe, collaborate (default) or full' },
      FOLDER,
      EXPIRES,
      REACH,
    ],
    examples: [
      ['loopsy key add ci --grant full --expires 30d', 'printed once, so keep it'],
      ['loopsy key add board --grant observe', 'for a page that only looks'],
    ],
    details: `${LEVEL_DETAILS}\nA name is who a key is: a new one of the same name takes over what an older one left (context, messages, jobs).`,
  },
  {
    path: 'key grant',
    summary: "set what a key, or this machine's agents, may do",
    args: [{ name: 'key' }, LEVEL],
    options: [FOLDER, EXPIRES, REACH],
    examples: [
      ['loopsy key grant ci observe', 'narrow a key'],
      ['loopsy key grant agent full --reach kai', "this machine's coding agents reach one peer only"],
    ],
    details: LEVEL_DETAILS,
  },
  {
    path: 'key revoke',
    summary: 'revoke a key, at once',
    args: [{ name: 'key' }],
    examples: [['loopsy key revoke ci', 'what it does at this moment ends']],
  },
];
