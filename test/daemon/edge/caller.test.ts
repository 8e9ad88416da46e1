import { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import { describe, expect, it } from 'vitest';

import { type CallerSources, decideCaller } from '../../../src/daemon/edge/caller.ts';
import type { SocketFacts } from '../../../src/daemon/edge/connection.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { callerName } from '../../../src/trust/caller.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';

const certificate = new X509Certificate((await makeMachine()).certificate);
const OWN = { host: '127.0.0.1:19532' };

const sources = (more: Partial<CallerSources> = {}): CallerSources => ({
  certificate: () => ({
    kind: 'peer',
    machineId: 'm',
    nodeId: 'n',
    grant: { level: 'full', scopes: [], reach: 'all' },
  }),
  token: (token, loopback) => {
    if (token === 'owner') return loopback ? { kind: 'owner' } : 'invalid_key';
    if (token === 'ci') return { kind: 'key', name: 'ci', grant: { level: 'full', scopes: [], reach: [] } };
    return token === 'old' ? 'revoked' : 'invalid_key';
  },
  plainAllowed: () => false,
  ...more,
});

interface Coming {
  readonly from: 'loopback' | 'network' | 'tls' | 'tls with certificate';
  readonly headers?: IncomingHttpHeaders;
  readonly token?: string;
  readonly plainAllowed?: boolean;
}

/** Who it is, the refusal of a stranger, or the error. */
const decide = ({ from, headers = {}, token, plainAllowed = false }: Coming): string => {
  const facts: SocketFacts = {
    tls: from.startsWith('tls'),
    loopback: from === 'loopback',
    remoteAddress: '127.0.0.1',
    certificate: from === 'tls with certificate' ? certificate : undefined,
    leaf: from === 'tls with certificate' ? certificate.raw : undefined,
  };
  const all = { ...OWN, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers };
  try {
    const { caller, refusal } = decideCaller(
      { facts, headers: all, method: 'GET', pageFile: false },
      sources({ plainAllowed: () => plainAllowed }),
    );
    return refusal ?? callerName(caller);
  } catch (error) {
    return error instanceof LoopsyError ? error.error : String(error);
  }
};

describe('the caller', () => {
  it.each<[string, Coming]>([
    ['stranger', { from: 'loopback' }],
    ['owner', { from: 'loopback', token: 'owner' }],
    ['key:ci', { from: 'loopback', token: 'ci' }],
    ['revoked', { from: 'loopback', token: 'old' }],
    ['invalid_key', { from: 'loopback', token: 'guessed' }],
    ['invalid_key', { from: 'loopback', headers: { authorization: 'Basic b3duZXI=' } }],
    ['invalid_key', { from: 'loopback', headers: { authorization: 'Bearer ' } }],
    ['stranger', { from: 'tls' }],
    ['invalid_key', { from: 'tls', token: 'owner' }],
    ['key:ci', { from: 'tls', token: 'ci' }],
    ['peer:m', { from: 'tls with certificate' }],
    ['plain_http', { from: 'network' }],
    ['plain_http', { from: 'network', token: 'ci' }],
    ['plain_http', { from: 'network', token: 'owner', plainAllowed: true }],
    ['plain_http', { from: 'network', plainAllowed: true }],
    ['key:ci', { from: 'network', token: 'ci', plainAllowed: true }],
  ])('is %s for %j', (who, coming) => expect(decide(coming)).toBe(who));

  it(
    verifies('edge.caller', 'is an error where a certificate and a token come on one connection, right ones or wrong'),
    () => {
      for (const token of ['owner', 'ci', 'guessed'])
        expect(decide({ from: 'tls with certificate', token })).toBe('invalid_request');
    },
  );

  it(
    verifies('edge.loopback', 'is nobody’s page: a foreign Host or Origin is refused before the token is looked at'),
    () => {
      expect(decide({ from: 'loopback', token: 'owner', headers: { host: 'evil.example' } })).toBe('foreign_origin');
      const origin = { origin: 'https://evil.example' };
      for (const from of ['loopback', 'tls', 'tls with certificate'] as const)
        expect(decide({ from, headers: origin })).toBe('foreign_origin');
      expect(decide({ from: 'network', token: 'ci', plainAllowed: true, headers: origin })).toBe('foreign_origin');
      expect(decide({ from: 'loopback', token: 'owner', headers: { origin: `http://${OWN.host}` } })).toBe('owner');
    },
  );
});
