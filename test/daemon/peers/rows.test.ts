import { describe, expect, it } from 'vitest';

import { PeerFactsBook } from '../../../src/daemon/peers/facts.ts';
import type { ManualEntry } from '../../../src/daemon/peers/manual.ts';
import { pickKnown } from '../../../src/daemon/peers/references.ts';
import {
  type Known,
  manualPeers,
  pinnedPeer,
  suspendedPeer,
  trustedPeer,
  unsettledPeer,
} from '../../../src/daemon/peers/rows.ts';
import { peerSchema } from '../../../src/protocol/peers.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { type Machine, machineOf } from '../../../src/trust/trust-records.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { silentLog } from '../edge/listening.ts';

const at = (host: string, port = 19_532) => ({ host, port });
const entry = (host: string, more: Partial<ManualEntry> = {}): ManualEntry => ({
  v: 1,
  address: at(host),
  inConfig: false,
  ...more,
});
const ONLINE = { presence: 'online', latencyMs: 1.23456, reason: undefined } as const;

const machineCalled = async (name: string): Promise<Machine> => {
  const { certificate } = await makeMachine();
  const machine = machineOf(certificate, { name, source: 'paired', grant: grantOfLevel('full') });
  if (machine === undefined) throw new Error('no machine');
  return machine;
};

const openBook = (): PeerFactsBook => new PeerFactsBook(openMemoryStore({ clock: new FakeClock() }), silentLog);

const parsed = ({ row }: Known): unknown => peerSchema.parse(row);

describe('the rows of peers', () => {
  it(verifies('link.registry', 'are one for each node and one for each other address'), async () => {
    const book = openBook();
    const machine = await machineCalled('kai');
    const { machineId } = machine;
    book.learn(machineId, { hostname: 'kai.local', platform: 'win32', version: '2.0.0', lastSeen: 7 });
    book.reached(machineId, at('10.0.0.7'));
    book.seenAt(machineId, at('10.0.0.8'));
    const row = trustedPeer(machine, book.get(machineId), ONLINE);
    expect(parsed(row)).toMatchObject({
      name: 'kai', nodeId: machineId, status: 'online', latencyMs: 1.23, address: '10.0.0.7', platform: 'win32', manuallyAdded: false,
    }); // prettier-ignore
    const offline = { presence: 'offline', latencyMs: undefined, reason: 'no answer' } as const;
    expect(parsed(trustedPeer(machine, book.get(machineId), offline))).toMatchObject({
      status: 'offline',
      reason: 'no answer',
    });
    expect(parsed(unsettledPeer(row))).toMatchObject({
      status: 'online',
      reason: 'waiting for its answer to the pairing',
    });
    expect(parsed(unsettledPeer(trustedPeer(machine, book.get(machineId), offline)))).toMatchObject({
      reason: 'waiting for its answer to the pairing: no answer',
    });
    const other = { nodeId: 'b'.repeat(32) };
    const rows = manualPeers(
      [entry('10.0.0.8'), entry('10.0.0.9', other), entry('10.0.0.10', { ...other, name: 'spare' }), entry('fe80::1')],
      [row],
      (text) => book.nodesAt(text)[0],
    );
    expect(rows.map((one) => one.row.name)).toEqual(['spare', '[fe80::1]:19532']);
    for (const one of rows) expect(parsed(one)).toMatchObject({ trusted: false, status: 'unknown' });
  });

  it('say of what a pin stands in the way of, or waits for, what it is and what to do', async () => {
    const machine = await machineCalled('kai');
    const suspended = suspendedPeer(machine, openBook().get(machine.machineId));
    expect(parsed(suspended)).toMatchObject({
      name: machine.machineId.slice(0, 8),
      trusted: false,
      reason: expect.stringContaining('tls.pinnedCerts.kai in config.yaml is another machine'),
    });
    const pin = pinnedPeer({ name: 'kai', fingerprint: 'a'.repeat(64), grant: grantOfLevel('full') });
    expect(parsed(pin)).toMatchObject({
      name: 'kai',
      trusted: true,
      status: 'unknown',
      reason: expect.stringContaining('loopsy peers add'),
    });
  });
});

describe('a peer is named', () => {
  const manual = (host: string, more: Partial<ManualEntry>): Known => {
    const [known] = manualPeers([entry(host, more)], [], () => undefined);
    if (known === undefined) throw new Error('no row');
    return known;
  };
  const rows = [
    manual('10.0.0.1', { nodeId: `abcd${'a'.repeat(28)}`, name: 'kai' }),
    manual('10.0.0.2', { nodeId: `abcd${'b'.repeat(28)}`, name: 'maria' }),
    manual('fe80::1', { nodeId: `abcz${'c'.repeat(28)}`, name: 'abcd' }),
    manual('kai.local', {}),
  ];
  const pick = (reference: string): string => pickKnown(reference, rows).row.name;

  it(verifies('cli.addresses', 'by its name, by four characters of its id or more, by its address'), () => {
    expect(['kai', 'KAI', 'abcda', 'ABCZ', '10.0.0.2', '10.0.0.2:19532', '[fe80::1]', 'Kai.local'].map(pick)).toEqual([
      'kai',
      'kai',
      'kai',
      'abcd',
      'maria',
      'maria',
      'abcd',
      'kai.local:19532',
    ]);
    // A name wins over the begin of an id.
    expect(pick('abcd')).toBe('abcd');
  });

  it('not by less, and not by what means several: the matches are listed', () => {
    for (const nobody of ['abc', '10.0.0.2:1', 'x y', '']) expect(() => pick(nobody)).toThrow('no peer is called');
    const ids = rows.slice(0, 2);
    expect(() => pickKnown('abcd', ids)).toThrow(/can mean 2 peers: kai \(abcda+\), maria \(abcdb+\)/);
    const [kai] = ids;
    if (kai === undefined) throw new Error('no row');
    expect(() => pickKnown('10.0.0.1', [kai, { ...kai, row: { ...kai.row, name: 'twin' } }])).toThrow('can mean 2');
  });
});
