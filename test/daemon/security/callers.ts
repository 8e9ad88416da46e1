import { LEVEL_SCOPES, type Scope } from '../../../src/protocol/scopes.ts';
import type { ErrorName } from '../../../src/protocol/errors.ts';
import { type Asking, shownBy } from '../../helpers/ask.ts';
import { type Cast, LAN, sessionOf, withoutAddress } from './cast.ts';

/** One way to turn up, and what is true of whoever does; nothing here is computed by the code under test. */
export interface Who {
  readonly title: string;
  /** Made anew for each request. */
  readonly come: (cast: Cast) => Partial<Asking>;
  /** Whatever is asked, this is the answer. */
  readonly door?: ErrorName;
  /** Nobody: may ask what is public, and gets this for the rest. */
  readonly nobody?: ErrorName;
  /** Over TLS, and shows nothing: may take the steps of a pairing. */
  readonly bare?: true;
  readonly is?: 'owner' | 'agent secret' | 'program' | 'node';
  readonly scopes?: readonly Scope[];
  /** An agent of this machine: it has an inbox, as the owner has. */
  readonly inbox?: true;
  /** Its grant is over. */
  readonly expired?: true;
  /** The request names a peer, which the caller may, or may not, address. */
  readonly peer?: 'within reach' | 'beyond reach';
}

const { observe, collaborate, full } = LEVEL_SCOPES;
const DAYS_40 = 40 * 86_400_000;
const host = (name: string): Partial<Asking> => ({ headers: { host: name } });
const own = ({ node }: Cast): Partial<Asking> => ({ key: node.tokens.start });

/** Strangers, and what makes nobody. */
const NOBODIES: readonly Who[] = [
  { title: 'no key', come: () => ({}), nobody: 'missing_key' },
  {
    title: 'no key, over TLS from the LAN',
    come: () => ({ ...LAN, tls: 'no certificate' }),
    nobody: 'missing_key',
    bare: true,
  },
  { title: 'a wrong key', come: () => ({ key: 'ab'.repeat(32) }), nobody: 'invalid_key' },
  {
    title: 'another scheme than Bearer',
    come: () => ({ headers: { authorization: 'Basic b3duZXI6b3duZXI=' } }),
    nobody: 'invalid_key',
  },
  { title: 'a revoked key', come: ({ keys }) => ({ key: keys.revoked }), nobody: 'revoked' },
  {
    title: 'a revoked key, over TLS from the LAN',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.revoked }),
    nobody: 'revoked',
  },
  {
    title: "the owner's key, over TLS from the LAN",
    come: ({ node }) => ({ ...LAN, tls: 'no certificate', key: node.tokens.owner }),
    nobody: 'invalid_key',
  },
  {
    title: 'the token of this start, over TLS from the LAN',
    come: (cast) => ({ ...LAN, tls: 'no certificate', ...own(cast) }),
    nobody: 'invalid_key',
  },
  {
    title: "an agent's token, over TLS from the LAN",
    come: ({ agentToken }) => ({ ...LAN, tls: 'no certificate', key: agentToken }),
    nobody: 'invalid_key',
  },
  {
    title: 'the agent secret, over TLS from the LAN',
    come: ({ node }) => ({ ...LAN, tls: 'no certificate', key: node.tokens.agent }),
    nobody: 'invalid_key',
  },
  {
    title: 'an unknown certificate',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.unknown) }),
    nobody: 'invalid_key',
  },
  {
    title: 'a session of an unknown machine',
    come: ({ peers }) => ({ ...LAN, tls: sessionOf(peers.unknown) }),
    nobody: 'invalid_key',
  },
  { title: 'a revoked peer', come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.removed) }), nobody: 'revoked' },
  {
    title: 'a session of a revoked peer',
    come: ({ peers }) => ({ ...LAN, tls: sessionOf(peers.removed) }),
    nobody: 'revoked',
  },
  {
    title: 'an expired session of a peer',
    come: ({ peers }) => ({ ...LAN, tls: sessionOf(peers.full, DAYS_40) }),
    nobody: 'expired_key',
  },
  {
    title: 'a session of a peer, of a time to come',
    come: ({ peers }) => ({ ...LAN, tls: sessionOf(peers.full, -DAYS_40) }),
    nobody: 'expired_key',
  },
  {
    title: "the owner's token over TLS on a link without addresses",
    come: (cast) => ({ ...withoutAddress(cast.node), tls: 'no certificate', ...own(cast) }),
    nobody: 'invalid_key',
  },
];

/** Refused before it is asked what they want. */
const AT_THE_DOOR: readonly Who[] = [
  {
    title: 'the owner, foreign Host',
    come: (cast) => ({ ...own(cast), ...host('evil.example') }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, a Host that only begins like ours',
    come: (cast) => ({ ...own(cast), ...host('127.0.0.1.evil.example') }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, foreign Origin',
    come: (cast) => ({ ...own(cast), headers: { origin: 'https://evil.example' } }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, Origin null',
    come: (cast) => ({ ...own(cast), headers: { origin: 'null' } }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, Origin of another port',
    come: (cast) => ({ ...own(cast), headers: { origin: 'http://127.0.0.1:1' } }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, a page of the same site on another port',
    come: (cast) => ({ ...own(cast), headers: { 'sec-fetch-site': 'same-site' } }),
    door: 'foreign_origin',
  },
  {
    title: 'the owner, a page of another site',
    come: (cast) => ({ ...own(cast), headers: { 'sec-fetch-site': 'cross-site' } }),
    door: 'foreign_origin',
  },
  {
    title: 'a key over TLS, from a page',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.far, headers: { origin: 'https://evil.example' } }),
    door: 'foreign_origin',
  },
  { title: 'no key, plain HTTP from the LAN', come: () => LAN, door: 'plain_http' },
  { title: "the owner's key, plain HTTP from the LAN", come: (cast) => ({ ...LAN, ...own(cast) }), door: 'plain_http' },
  { title: 'a full key, plain HTTP from the LAN', come: ({ keys }) => ({ ...LAN, key: keys.far }), door: 'plain_http' },
  {
    title: "the owner's token on a plain link without addresses",
    come: (cast) => ({ ...withoutAddress(cast.node), ...own(cast) }),
    door: 'plain_http',
  },
  {
    title: 'a certificate and a key on one connection',
    come: ({ peers, keys }) => ({ ...LAN, tls: shownBy(peers.full), key: keys.far }),
    door: 'invalid_request',
  },
  {
    title: "a certificate and the owner's key on one connection, on loopback",
    come: (cast) => ({ tls: shownBy(cast.peers.full), ...own(cast) }),
    door: 'invalid_request',
  },
];

const PROGRAMS: readonly Who[] = [
  { title: 'an agent', come: ({ agentToken }) => ({ key: agentToken }), is: 'program', scopes: full, inbox: true },
  {
    title: 'a key of level observe',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.observe }),
    is: 'program',
    scopes: observe,
  },
  {
    title: 'a key of level collaborate',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.collaborate }),
    is: 'program',
    scopes: collaborate,
  },
  {
    title: 'a key of level full',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.full }),
    is: 'program',
    scopes: full,
  },
  { title: 'a key of level full on loopback', come: ({ keys }) => ({ key: keys.full }), is: 'program', scopes: full },
  {
    title: 'a key without the scope exec',
    come: ({ keys }) => ({ key: keys['status-only'] }),
    is: 'program',
    scopes: ['status'],
  },
  {
    title: 'a key without the scope status',
    come: ({ keys }) => ({ key: keys['exec-only'] }),
    is: 'program',
    scopes: ['exec'],
  },
  {
    title: 'an expired key',
    come: ({ keys }) => ({ ...LAN, tls: 'no certificate', key: keys.expired }),
    is: 'program',
    scopes: full,
    expired: true,
  },
  {
    title: 'a key of level full, with a peer beyond its reach',
    come: ({ keys }) => ({ key: keys.full }),
    is: 'program',
    scopes: full,
    peer: 'beyond reach',
  },
  {
    title: 'a key without the scope exec, with a peer beyond its reach',
    come: ({ keys }) => ({ key: keys['status-only'] }),
    is: 'program',
    scopes: ['status'],
    peer: 'beyond reach',
  },
  {
    title: 'a key that reaches all, with a peer',
    come: ({ keys }) => ({ key: keys.far }),
    is: 'program',
    scopes: full,
    peer: 'within reach',
  },
];

const NODES: readonly Who[] = [
  {
    title: 'a peer of level observe',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.observe) }),
    is: 'node',
    scopes: observe,
  },
  {
    title: 'a peer of level collaborate',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.collaborate) }),
    is: 'node',
    scopes: collaborate,
  },
  {
    title: 'a peer of level full',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.full) }),
    is: 'node',
    scopes: full,
  },
  {
    title: 'a peer of level full, by loopback',
    come: ({ peers }) => ({ tls: shownBy(peers.full) }),
    is: 'node',
    scopes: full,
  },
  {
    title: 'a peer that was granted nothing',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.nothing) }),
    is: 'node',
    scopes: [],
  },
  {
    title: 'a peer without the scope status',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers['exec-only']) }),
    is: 'node',
    scopes: ['exec'],
  },
  {
    title: 'a peer whose grant is over',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.expired) }),
    is: 'node',
    scopes: full,
    expired: true,
  },
  {
    title: 'a session of a peer',
    come: ({ peers }) => ({ ...LAN, tls: sessionOf(peers.full) }),
    is: 'node',
    scopes: full,
  },
  {
    title: 'a session of this machine',
    come: ({ node }) => ({ ...LAN, tls: sessionOf({ key: node.identity.privateKey }) }),
    is: 'node',
    scopes: full,
  },
  {
    title: 'a peer on a link without addresses',
    come: ({ node, peers }) => ({ ...withoutAddress(node), tls: shownBy(peers.full) }),
    is: 'node',
    scopes: full,
  },
  {
    title: 'a peer that names a further peer',
    come: ({ peers }) => ({ ...LAN, tls: shownBy(peers.full) }),
    is: 'node',
    scopes: full,
    peer: 'beyond reach',
  },
];

const MASTERS: readonly Who[] = [
  { title: 'the agent secret', come: ({ node }) => ({ key: node.tokens.agent }), is: 'agent secret' },
  { title: 'the owner', come: own, is: 'owner' },
  { title: 'the owner, by [::1]', come: (cast) => ({ ...own(cast), to: '::1' }), is: 'owner' },
  { title: 'the owner, with a peer', come: own, is: 'owner', peer: 'within reach' },
];

/** Everybody, the owner last: some of what it does ends others. */
export const EVERYBODY: readonly Who[] = [...NOBODIES, ...AT_THE_DOOR, ...PROGRAMS, ...NODES, ...MASTERS];
