/** The commands about shared keys and values: plain data, as in `commands.ts`. */
import type { CommandSpec, OptionSpec } from './command-spec.ts';

const PEER: OptionSpec = { name: 'peer', value: 'peer', summary: 'on that peer; default: on this machine' };
const TTL: OptionSpec = {
  name: 'ttl',
  value: 'time',
  summary: 'how long it lives: s, or 30s, 5m, 12h, 7d; default: for ever',
};
const IF_REVISION: OptionSpec = {
  name: 'if-revision',
  value: 'n',
  summary: 'only where it has this revision; 0: only where there is none',
};
const LEASE_TTL: OptionSpec = { name: 'ttl', value: 'time', summary: 'how long it is held; default: 60s' };
const FENCE: OptionSpec = {
  name: 'fence',
  value: 'n',
  summary: 'which hold is meant: the number that acquire printed',
};
const LEASE = { name: 'name' };

/** Keys, values and leases. */
export const CONTEXT_COMMANDS: readonly CommandSpec[] = [
  {
    path: 'context set',
    summary: 'set a key',
    args: [{ name: 'key' }, { name: 'value' }],
    options: [PEER, TTL, IF_REVISION],
    examples: [
      ['loopsy context set build/status green', 'on this machine'],
      ['loopsy context set plan - --peer kai < plan.md', 'the value from stdin, on a peer'],
      ['loopsy context set lock mine --if-revision 0', 'only where there is no such key'],
    ],
    details: 'A key has 1–512 bytes, a value at most 1 MiB of text. Agents on all machines that may read it see it.',
  },
  {
    path: 'context get',
    summary: 'print the value of a key',
    args: [{ name: 'key' }],
    options: [PEER],
    examples: [
      ['loopsy context get build/status', 'the value as it is; exits 1, and prints nothing, where there is none'],
      ['loopsy context get plan --peer kai --json', 'with its revision, and who wrote it'],
    ],
  },
  {
    path: 'context list',
    summary: 'list keys',
    args: [{ name: 'prefix', optional: true }],
    options: [PEER],
    examples: [
      ['loopsy context list', 'all of this machine'],
      ['loopsy context list build/ --peer kai', 'those that begin with build/, on a peer'],
    ],
  },
  {
    path: 'context delete',
    summary: 'delete a key',
    args: [{ name: 'key' }],
    options: [PEER, IF_REVISION],
    examples: [['loopsy context delete build/status', 'exits 1 where there is none']],
  },
  {
    path: 'context watch',
    summary: 'print what keys are, and then each change',
    args: [{ name: 'prefix', optional: true }],
    options: [
      PEER,
      { name: 'key', value: 'key', summary: 'this key alone' },
      { name: 'since', value: 'n', summary: 'go on behind this cursor, as it stands behind each change' },
    ],
    examples: [
      ['loopsy context watch build/', 'Ctrl-C ends it; goes on over a restart of the node'],
      ['loopsy context watch build/ --since 41', 'what has changed since, and what changes'],
      ['loopsy context watch --key plan --peer kai --json', 'one line an event, for scripts'],
    ],
  },
  {
    path: 'context broadcast',
    summary: 'set a key on every peer that is online',
    args: [{ name: 'key' }, { name: 'value' }],
    options: [TTL],
    examples: [
      ['loopsy context broadcast freeze "until 18:00"', 'says of each peer whether it has it; exits 0 if all have'],
    ],
  },
  {
    path: 'context export',
    summary: 'print keys and values, one line of JSON each',
    args: [{ name: 'prefix', optional: true }],
    options: [PEER],
    examples: [['loopsy context export > context.jsonl', 'what `context import` reads']],
  },
  {
    path: 'context import',
    summary: 'set the keys that stdin holds, as export prints them',
    options: [PEER, { name: 'no-clobber', summary: 'leave keys alone that are there' }],
    examples: [
      ['loopsy context import < context.jsonl', 'what was left of a time to live when it was exported is what it has'],
    ],
  },
  {
    path: 'context lease list',
    summary: 'list the leases that are held',
    options: [PEER],
    examples: [['loopsy context lease list --peer kai', 'who holds what, until when']],
  },
  {
    path: 'context lease acquire',
    summary: 'take a lease: nobody else gets it for its time',
    args: [LEASE],
    options: [PEER, LEASE_TTL, { name: 'wait', value: 'time', summary: 'wait that long for whoever holds it' }],
    examples: [
      ['loopsy context lease acquire deploy --ttl 5m', 'exits 1 where somebody else holds it, and says who'],
      ['loopsy context lease acquire db --peer kai --wait 1m', 'two machines agree on one node'],
    ],
    details:
      'A lease lives on one node. Its fence grows with each holder: what it guards can refuse lower ones, and renew and\nrelease can say by it which hold they mean: where several of your programs share a name, let them.',
  },
  {
    path: 'context lease renew',
    summary: 'hold a lease for longer',
    args: [LEASE],
    options: [PEER, LEASE_TTL, FENCE],
    examples: [['loopsy context lease renew deploy --ttl 5m --fence 41', 'exits 1 where it is lost']],
  },
  {
    path: 'context lease release',
    summary: 'give a lease back',
    args: [LEASE],
    options: [PEER, FENCE, { name: 'force', summary: 'on your own machine: anybody’s' }],
    examples: [
      ['loopsy context lease release deploy --fence 41', 'exits 1 where it is lost'],
      ['loopsy context lease release deploy --force', 'where its holder is gone'],
    ],
  },
];
