import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ERRORS, type ErrorName } from '../../../src/protocol/errors.ts';
import type { Operation } from '../../../src/protocol/operation.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../../../src/protocol/operations.ts';
import { SCOPES } from '../../../src/protocol/scopes.ts';
import { decide, grantOfLevel } from '../../../src/trust/grants.ts';
import { verifies } from '../../requirements.ts';
import { EVERYBODY, type Who } from './callers.ts';
import { type Cast, castOf, dismiss } from './cast.ts';
import { type About, requestFor, Turns } from './requests.ts';

/** The rules in words, one line each; not those of the code under test. */
const ruleFor = (op: Operation, who: Who): ErrorName | 'allowed' => {
  if (who.door !== undefined) return who.door;
  // No node lends another its authority, and what is this node's own is never forwarded.
  if (who.nobody !== undefined) {
    const isOpen = op.access === 'public' || (op.access === 'pairing' && who.bare === true);
    return isOpen ? 'allowed' : who.nobody;
  }
  if (who.is === 'node' && who.peer !== undefined) return 'invalid_request';
  const here = ruleHere(op, who);
  if (here !== 'allowed' || who.peer === undefined) return here;
  if (!op.remote) return 'invalid_request';
  return who.peer === 'within reach' ? 'allowed' : 'scope_missing';
};

const ruleHere = (op: Operation, who: Who): ErrorName | 'allowed' => {
  switch (op.access) {
    case 'public':
      return 'allowed';
    case 'owner':
      return who.is === 'owner' ? 'allowed' : 'scope_missing';
    case 'agent-secret':
      return who.is === 'agent secret' ? 'allowed' : 'scope_missing';
    case 'link':
      return who.is === 'node' ? 'allowed' : 'missing_key';
    // Who can show anything has no business with it.
    case 'pairing':
      return 'scope_missing';
    default:
      if (op.linkOnly === true && who.is !== 'node') return 'missing_key';
      if (who.is === 'owner') return 'allowed';
      if (who.is === 'agent secret' || (who.is === 'node' && !op.remote && op.linkOnly !== true))
        return 'scope_missing';
      if (who.expired === true) return 'expired_key';
      return who.scopes?.includes(op.access) === true ? 'allowed' : 'scope_missing';
  }
};

/** What who is let in hears: no code is open here, there is no number to say yes to, and what is to be ended is not there. */
const LET_IN: Partial<Record<OperationId, ErrorName>> = {
  'pair.confirm': 'conflict',
  'pair.initiate': 'pair_not_open',
  'pair.prove': 'pair_not_open',
  'pair.reveal': 'pair_not_open',
  'pair.settle': 'pair_not_open',
  'context.delete': 'context_not_found',
  'lease.renew': 'lease_lost',
  'lease.release': 'lease_lost',
  'message.show': 'message_not_found',
  'message.read': 'message_not_found',
  'message.ack': 'message_not_found',
  'message.cancel': 'message_not_found',
};

/** What is the owner's and the agents': a key may send, and no more. */
const INBOX: readonly OperationId[] = ['message.list', 'message.wait', 'message.read', 'message.ack'];

/** The objects of the matrix are the owner's, on this node: for all others, and on the other node, they are not there. */
const answerFor = (id: OperationId, who: Who): ErrorName | 'allowed' => {
  const op = rowOf(id);
  const rule = ruleFor(op, who);
  if (rule === 'allowed' && INBOX.includes(id) && who.is === 'program' && who.inbox !== true) return 'scope_missing';
  if (rule === 'allowed') return LET_IN[id] ?? answerOf(op, who);
  return rule;
};

const answerOf = (op: Operation, who: Who): ErrorName | 'allowed' => {
  if (op.object?.role !== 'uses') return 'allowed';
  const notThere = op.object.kind === 'job' ? 'job_not_found' : 'transfer_not_found';
  return who.is === 'owner' && who.peer === undefined ? 'allowed' : notThere;
};

/** A few cells by hand, so that the rules above are held to something. */
const PINS: readonly [operation: OperationId, who: string, answer: ErrorName | 'allowed'][] = [
  ['system.health', 'no key', 'allowed'],
  ['system.health', 'no key, plain HTTP from the LAN', 'plain_http'],
  ['system.health', 'the owner, foreign Host', 'foreign_origin'],
  ['system.status', 'no key', 'missing_key'],
  ['system.status', 'a peer of level observe', 'allowed'],
  ['system.stop', 'a peer of level full', 'scope_missing'],
  ['system.stop', 'an agent', 'scope_missing'],
  ['system.stop', 'the owner', 'allowed'],
  ['peer.list', 'a peer of level full', 'scope_missing'],
  ['peer.trust', 'a key of level full', 'scope_missing'],
  ['peer.handshake', 'a session of a peer', 'allowed'],
  ['peer.handshake', 'the owner', 'missing_key'],
  ['message.send', 'a peer of level full', 'scope_missing'],
  ['message.list', 'a peer of level full', 'scope_missing'],
  ['message.list', 'an agent', 'allowed'],
  ['message.list', 'a key of level full', 'scope_missing'],
  ['message.deliver', 'a peer of level collaborate', 'allowed'],
  ['message.deliver', 'a peer of level observe', 'scope_missing'],
  ['message.deliver', 'the owner', 'missing_key'],
  ['message.receipts', 'a peer of level observe', 'allowed'],
  ['job.execute', 'a wrong key', 'invalid_key'],
  ['job.execute', 'an unknown certificate', 'invalid_key'],
  ['job.execute', 'a revoked peer', 'revoked'],
  ['job.execute', 'an expired key', 'expired_key'],
  ['job.execute', 'an expired session of a peer', 'expired_key'],
  ['job.execute', 'a key of level collaborate', 'scope_missing'],
  ['job.execute', 'a peer of level full', 'allowed'],
  ['job.execute', 'a peer that names a further peer', 'invalid_request'],
  ['job.cancel', 'a peer of level full', 'job_not_found'],
  ['job.cancel', 'the owner', 'allowed'],
  ['job.stdin', 'an agent', 'job_not_found'],
  ['file.list', 'a peer of level observe', 'allowed'],
  ['file.push', 'a peer of level observe', 'scope_missing'],
  ['file.push', 'a key of level collaborate', 'allowed'],
  ['file.pull', 'a peer that was granted nothing', 'scope_missing'],
  ['file.pull', 'a revoked peer', 'revoked'],
  ['file.pull', 'the owner, with a peer', 'allowed'],
  ['transfer.start', 'a peer of level full', 'scope_missing'],
  ['transfer.run', 'a peer of level full', 'scope_missing'],
  ['transfer.run', 'the owner, with a peer', 'invalid_request'],
  ['transfer.cancel', 'a peer of level full', 'transfer_not_found'],
  ['source.read', 'a peer of level full', 'transfer_not_found'],
  ['target.write', 'an agent', 'transfer_not_found'],
  ['target.write', 'the owner', 'allowed'],
  ['end.close', 'no key, over TLS from the LAN', 'missing_key'],
  ['context.get', 'a peer of level observe', 'allowed'],
  ['context.set', 'a peer of level observe', 'scope_missing'],
  ['context.set', 'a key of level collaborate', 'allowed'],
  ['context.watch', 'a peer that was granted nothing', 'scope_missing'],
  ['context.broadcast', 'a peer of level full', 'scope_missing'],
  ['context.broadcast', 'the owner, with a peer', 'invalid_request'],
  ['lease.release', 'a revoked peer', 'revoked'],
  ['event.follow', 'a peer of level full', 'scope_missing'],
  ['key.show', "the owner's key, over TLS from the LAN", 'invalid_key'],
  ['key.show', 'the owner, by [::1]', 'allowed'],
  ['agent.connect', 'the owner', 'scope_missing'],
  ['agent.connect', 'the agent secret', 'allowed'],
  ['config.get', 'a certificate and a key on one connection', 'invalid_request'],
  ['audit.list', 'a key of level full', 'scope_missing'],
  ['pair.start', 'a key of level full on loopback', 'scope_missing'],
  ['pair.confirm', 'a peer of level full', 'scope_missing'],
  ['pair.initiate', 'no key, over TLS from the LAN', 'pair_not_open'],
  ['pair.initiate', 'no key', 'missing_key'],
  ['pair.initiate', 'the owner', 'scope_missing'],
  ['pair.prove', 'an unknown certificate', 'invalid_key'],
  ['pair.prove', 'a key over TLS, from a page', 'foreign_origin'],
  ['pair.settle', 'a peer of level full', 'scope_missing'],
  ['pair.settle', 'no key, plain HTTP from the LAN', 'plain_http'],
];

const NOTHING = { jobId: '', transferId: '', sourceId: '', targetId: '', ends: [] };

const count = (tally: Map<string, number>, key: string, by = 1): void =>
  void tally.set(key, (tally.get(key) ?? 0) + by);

describe('the authorisation matrix', () => {
  let cast: Cast;
  let folder = '';
  let about: Omit<About, 'turn' | 'peer'>;
  const turns = new Turns();
  const answers = new Map<string, string>();
  const asked = new Map<string, number>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'loopsy-matrix-'));
    await mkdir(join(folder, 'copy'));
    const file = join(folder, 'a');
    await writeFile(file, 'abc');
    const rateLimits = { transfer: 1000, context: 1000 };
    cast = await castOf({ config: { transfer: { allowedPaths: [folder] }, rateLimits } }, [folder]);
    const { node } = cast;
    const started = await node.ask({
      method: 'POST',
      path: '/execute/stream',
      key: node.tokens.start,
      body: { command: process.execPath, args: ['-e', 'setTimeout(() => {}, 60000)'], stdinStream: true },
      headers: { 'loopsy-request-id': 'cd'.repeat(16) },
      headOnly: true,
    });
    const ids: About = { ...NOTHING, folder, file, turn: 0 };
    const made = async (id: OperationId): Promise<string> => {
      const { headers } = await node.ask({ ...requestFor(id, cast, ids), key: node.tokens.start });
      count(asked, `${id} allowed`);
      return String(headers['loopsy-object']);
    };
    about = {
      folder,
      file,
      jobId: String(started.headers['loopsy-object']),
      transferId: await made('transfer.start'),
      sourceId: await made('source.open'),
      targetId: await made('target.open'),
      ends: [await made('source.open'), await made('target.open'), await made('source.open')],
    };
    // Bytes can be put into a file that is open.
    const write = requestFor('target.write', cast, { ...about, turn: 0 });
    const path = write.path.replace('step=plan', 'step=prepare');
    await node.ask({ ...write, path, body: '{"file":[0,"",1,1,420]}', key: node.tokens.start });
    count(asked, 'target.write allowed');
    // What is there from the beginning was put there.
    count(asked, 'context.set allowed');
  });

  afterAll(async () => {
    await dismiss(cast);
    await rm(folder, { recursive: true, force: true });
  });

  const cell = async (id: OperationId, who: Who): Promise<string> => {
    const peer = who.peer === undefined ? {} : { peer: 'other' };
    const request = requestFor(id, cast, { ...about, turn: turns.next, ...peer });
    const coming = who.come(cast);
    const { outcome } = await cast.node.ask({
      ...request,
      ...coming,
      headers: { ...request.headers, ...coming.headers },
    });
    answers.set(`${id} / ${who.title}`, outcome);
    count(asked, `${id} ${outcome}`);
    return outcome;
  };

  it.each(EVERYBODY)('answers $title as the table says, for every operation', async (who) => {
    const got: Record<string, string> = {};
    for (const id of OPERATION_IDS) got[id] = await cell(id, who);
    if (who.is === 'owner') {
      turns.take();
      // The next one can show a code again.
      await cast.node.owner('POST', '/pair/confirm', { confirmed: false, role: 'host' });
      count(asked, 'pair.confirm allowed');
    }
    expect(got).toEqual(Object.fromEntries(OPERATION_IDS.map((id) => [id, answerFor(id, who)])));
  });

  it(
    verifies(
      'edge.matrix',
      'has every operation admit somebody, refuse most, and hold the cells that are written down',
    ),
    () => {
      for (const id of OPERATION_IDS) {
        const row = EVERYBODY.map((who) => answers.get(`${id} / ${who.title}`));
        expect(row).not.toContain(undefined);
        const letIn = LET_IN[id] ?? 'allowed';
        expect(row.filter((answer) => answer === letIn).length, id).toBeGreaterThan(0);
        expect(row.filter((answer) => answer !== letIn).length, id).toBeGreaterThan(10);
      }
      for (const [id, who, answer] of PINS) expect(answers.get(`${id} / ${who}`), `${id} / ${who}`).toBe(answer);
      expect(cast.node.stopsAsked()).toBe(2);
    },
  );

  it(
    verifies(['edge.one-way', 'data.audit'], 'has one audit line for each request, with what was decided'),
    async () => {
      await cast.node.stop();
      const written = new Map<string, number>();
      for (const { operation, decision, statusCode, count: times, path } of await cast.node.audit()) {
        const good = OPERATION_IDS.includes(operation as OperationId)
          ? rowOf(operation as OperationId).status
          : undefined;
        const name = String(decision);
        count(written, `${String(operation)} ${name}`, typeof times === 'number' ? times : 1);
        expect(statusCode, String(path)).toBe(name === 'allowed' ? (good ?? 200) : ERRORS[name as ErrorName].status);
      }
      // What the set-up asked for before the first cell.
      for (const key of ['peer.trust allowed', 'agent.connect allowed', 'job.stream allowed']) count(asked, key);
      // The other node greets this one when it likes.
      for (const tally of [asked, written]) tally.delete('peer.handshake allowed');
      expect(Object.fromEntries(written)).toEqual(Object.fromEntries(asked));
    },
  );
});

describe('what makes this node address others', () => {
  it(verifies('link.no-lending', 'is refused over a link, and there alone'), () => {
    const facts = { now: Date.now(), loopback: true };
    const outbound = OPERATION_IDS.filter((id) => rowOf(id).outbound === true);
    expect(outbound).toEqual(['transfer.start', 'transfer.run', 'context.broadcast', 'message.send', 'message.cancel']);
    const peer = { kind: 'peer', machineId: 'm', nodeId: 'm', grant: grantOfLevel('full', 'all') } as const;
    const key = { kind: 'key', name: 'k', grant: grantOfLevel('collaborate') } as const;
    // Were it remote, too.
    for (const row of outbound.flatMap((id) => [rowOf(id), { ...rowOf(id), remote: true }])) {
      expect(decide(peer, row, { ...facts, viaLink: true })).toMatchObject({ allowed: false, error: 'scope_missing' });
      expect(decide(key, row, { ...facts, viaLink: false })).toEqual({ allowed: true });
    }
    expect(SCOPES).not.toContain('admin');
  });
});
