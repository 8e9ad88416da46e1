import { connect, createSecureContext, type SecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';

import { LoopsyError } from '../../protocol/errors.ts';
import { CIPHERS } from '../edge/secure-server.ts';
import { identifyPeer, inspectLeaf, type PinnedMachine } from '../../trust/leaf.ts';

/** Where a node may be reached. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, with brackets around an IPv6 address. */
export const formatAddress = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** What this node shows of itself on a link. */
export interface OwnCertificate {
  readonly keyPem: string;
  readonly certPem: string;
}

/** The one machine and node that a dial may reach. */
export interface Pinned {
  readonly nodeId: string;
  readonly name: string;
  readonly machine: Omit<PinnedMachine, 'revoked'>;
  /** SHA-256 of the machine's public key, hex. */
  readonly spkiHash: string;
  readonly addresses: readonly Address[];
}

/** No authority counts, the system's least of all: whose certificate it is, is decided by the pin. */
const TLS = { ca: [], minVersion: 'TLSv1.3', ciphers: CIPHERS } satisfies SecureContextOptions;

/** What all of a node's dials show. Made once: making it costs more than a handshake. */
export const linkContext = ({ keyPem, certPem }: OwnCertificate): SecureContext =>
  createSecureContext({ ...TLS, key: keyPem, cert: certPem });

const anonymous = (): SecureContext => createSecureContext(TLS);

const CONNECT_TIMEOUT_MS = 2000;
const STAGGER_MS = 250;
const KEEP_ALIVE_MS = 10_000;
/** Somebody is there: the network let the connection through, and nobody shakes hands. */
const SILENT = 'ESILENT';

const explain = (error: unknown, address: Address): LoopsyError => {
  if (error instanceof LoopsyError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const at = formatAddress(address);
  const details = { address: address.host, port: address.port, cause: code };
  switch (code) {
    case 'ECONNREFUSED':
      return new LoopsyError('peer_unreachable', {
        message: `nothing listens at ${at} (connection refused)`,
        hint: 'start loopsy there: `loopsy start`',
        details,
      });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new LoopsyError('peer_unreachable', {
        message: `the name ${address.host} is not known to this machine`,
        details,
      });
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new LoopsyError('peer_unreachable', { message: `there is no way from here to ${at}`, details });
    case 'ETIMEDOUT':
      return new LoopsyError('peer_unreachable', {
        message: `no answer from ${at} within ${CONNECT_TIMEOUT_MS / 1000} s`,
        hint: 'is the machine awake, and does its firewall let this port in?',
        details,
      });
    case SILENT:
      return new LoopsyError('peer_unreachable', {
        message: `${at} took the connection, and says nothing`,
        hint: 'is the machine awake, and is that the port of its loopsy?',
        details,
      });
    case 'ECONNRESET':
    case 'EPIPE':
      return new LoopsyError('peer_unreachable', { message: `the connection to ${at} was cut`, details });
    default:
      // The system's own words for what keeps it from the network.
      if (/^E[A-Z]+$/.test(code)) {
        return new LoopsyError('peer_unreachable', {
          message: `${at} can not be reached from here (${code})`,
          details,
        });
      }
      return new LoopsyError('peer_handshake', {
        message: `what answers at ${at} is not the node that is trusted here (${code === '' ? String(error) : code})`,
        details,
      });
  }
};

interface Attempt {
  readonly address: Address;
  readonly context: SecureContext;
  readonly signal: AbortSignal;
}

const shakeHands = ({ address, context, signal }: Attempt): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: address.host,
      port: address.port,
      secureContext: context,
      servername: '',
      // Whoever answers is looked at when the handshake is complete, before a byte is sent: see `isPinned`.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    });
    const stop = (error: unknown): void => {
      cleanUp();
      socket.destroy();
      reject(explain(error, address));
    };
    const onAbort = (): void => stop(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }));
    let isConnected = false;
    socket.once('connect', () => (isConnected = true));
    const late = (): void => stop(Object.assign(new Error('timeout'), { code: isConnected ? SILENT : 'ETIMEDOUT' }));
    const timer = setTimeout(late, CONNECT_TIMEOUT_MS);
    const cleanUp = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.off('error', stop);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', stop);
    socket.once('secureConnect', () => {
      cleanUp();
      // An error before the next owner listens ends this socket, never the node.
      socket.on('error', () => socket.destroy());
      socket.setNoDelay(true);
      // A peer that was switched off says nothing: whoever waits for its answer finds out this way.
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      resolve(socket);
    });
    if (signal.aborted) onAbort();
  });

/** A connection, and the address that led to it. */
export interface Reached {
  readonly socket: TLSSocket;
  readonly address: Address;
}

/** Tries the addresses, each a little after the last, and keeps the first that answers as it must. */
const raceAddresses = async (
  addresses: readonly Address[],
  open: (address: Address, signal: AbortSignal) => Promise<TLSSocket>,
  signal: AbortSignal,
): Promise<Reached> => {
  const losers = new AbortController();
  const all = losers.signal;
  // Not `AbortSignal.any`: on Node 20 each call leaves something behind with a signal that lives as long as the link.
  const give = (): void => losers.abort();
  signal.addEventListener('abort', give, { once: true });
  if (signal.aborted) give();
  let won = false;
  const attempts = addresses.map(async (address, at) => {
    if (at > 0) await pause(at * STAGGER_MS, all);
    const socket = await open(address, all);
    if (won) socket.destroy();
    won = true;
    return { socket, address };
  });
  try {
    return await Promise.any(attempts);
  } catch (error) {
    throw error instanceof AggregateError ? mostTelling(error.errors) : error;
  } finally {
    signal.removeEventListener('abort', give);
    losers.abort();
  }
};

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new LoopsyError('peer_unreachable'));
    });
  });

/** A wrong machine matters more than an address where nobody is. */
const mostTelling = (errors: readonly unknown[]): unknown =>
  errors.find((error) => error instanceof LoopsyError && error.error === 'peer_handshake') ?? errors[0];

/** True where the one who answered is the pinned node: by its own key, or by a certificate that its machine issued. */
const isPinned = (socket: TLSSocket, { nodeId, machine, spkiHash }: Pinned, now: number): boolean => {
  const shown = socket.getPeerX509Certificate();
  const leaf = shown === undefined || socket.isSessionReused() ? undefined : inspectLeaf(shown);
  if (leaf === undefined) return false;
  const pin = { ...machine, revoked: false };
  const lookup = {
    bySpkiHash: (hash: string) => (hash === spkiHash ? pin : undefined),
    byMachineId: (id: string) => (id === machine.machineId ? pin : undefined),
  };
  const found = identifyPeer(leaf, lookup, now);
  return 'nodeId' in found && found.nodeId === nodeId;
};

/**
 * Connects to a pinned node. Its certificate is checked while the connection is made, so that a wrong machine at the
 * right address never receives a byte behind the handshake. `now` is wall time, ms.
 * @throws {LoopsyError} `peer_unreachable`, or `peer_handshake` where something else answers.
 */
export const dial = async (
  pinned: Pinned,
  context: SecureContext,
  { signal, now }: { signal: AbortSignal; now: () => number },
): Promise<Reached> => {
  if (pinned.addresses.length === 0) {
    throw new LoopsyError('peer_unreachable', {
      message: `no address of ${pinned.name} is known`,
      hint: `give one with \`loopsy peers add <ip>\``,
    });
  }
  const open = async (address: Address, all: AbortSignal): Promise<TLSSocket> => {
    const socket = await shakeHands({ address, context, signal: all });
    if (isPinned(socket, pinned, now())) return socket;
    socket.destroy();
    throw explain(new Error('another key'), address);
  };
  return raceAddresses(pinned.addresses, open, signal);
};

/** Connects to whoever answers and shows nothing; who it is, is for the caller to read from the connection's certificate. */
export const dialAnyone = (address: Address, signal: AbortSignal): Promise<TLSSocket> =>
  shakeHands({ address, context: anonymous(), signal });

/** Who answered a probe, and from where it was reached. */
export interface Probed {
  /** DER. */
  readonly certificate: Uint8Array;
  /** This side's address on the way there. */
  readonly localAddress: string | undefined;
}

/** Shakes hands with whoever answers, sends nothing, and returns the certificate it showed. */
export const probe = async (address: Address, signal: AbortSignal): Promise<Probed> => {
  const socket = await dialAnyone(address, signal);
  try {
    const shown = socket.getPeerX509Certificate();
    if (shown !== undefined) return { certificate: shown.raw, localAddress: socket.localAddress };
    throw new LoopsyError('peer_handshake', {
      message: `what answers at ${formatAddress(address)} showed no certificate`,
    });
  } finally {
    socket.destroy();
  }
};
