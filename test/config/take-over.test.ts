import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { takeOver } from '../../src/config/take-over.ts';

const editOf = (old: Record<string, unknown>, key: string): unknown =>
  takeOver(old, { addedByHand: [] }).edits.find(({ path }) => path.join('.') === key)?.value;

describe('the settings of loopsy 1', () => {
  it('are taken over where they mean the same here', () => {
    const { taken, left } = takeOver(
      { server: { port: 19_600, host: '127.0.0.1' }, transfer: { allowedPaths: ['~/work'] }, context: null },
      { addedByHand: [] },
    );
    expect(taken).toEqual(['server.port', 'server.host', 'transfer.allowedPaths']);
    expect(left).toEqual([]);
  });

  it('never bring along a key, a pin or a certificate, and TLS is on', () => {
    const secret = 'f'.repeat(64);
    const { edits, taken, left } = takeOver(
      {
        auth: { apiKey: secret, allowedKeys: { ci: secret } },
        tls: { enabled: false, pinnedCerts: { kai: secret }, cert: secret, key: secret },
      },
      { addedByHand: [] },
    );
    expect(taken).toEqual([]);
    expect(edits).toEqual([{ path: ['tls', 'enabled'], value: true }]);
    expect(left.map(({ key }) => key)).toEqual([
      'auth.apiKey',
      'auth.allowedKeys',
      'tls.enabled',
      'tls.pinnedCerts',
      'tls.cert',
      'tls.key',
    ]);
    expect(JSON.stringify(left)).not.toContain(secret);
  });

  it('are named where they mean nothing here, with the reason and never with the value', () => {
    const { taken, left } = takeOver(
      { server: { port: 'hunter2', wsPort: 1 }, hooks: { on: 'hunter2' }, 'just text': 'hunter2' },
      { addedByHand: [] },
    );
    expect(taken).toEqual([]);
    expect(left.map(({ key, reason }) => `${key}: ${reason}`)).toEqual([
      'server.port: its value can not be used: expected number, received string',
      'server.wsPort: this loopsy has no such key',
      'hooks.on: this loopsy has no such key',
      'just text: this loopsy has no such key',
    ]);
    expect(JSON.stringify(left)).not.toContain('hunter2');
  });

  it('bring along each address that was added by hand once, without what stood beside it', () => {
    const manualPeers = [
      { address: '10.0.0.5', port: 19_532, key: 'secret' },
      { address: '10.0.0.6' },
      { host: 'x' },
      7,
    ];
    const addedByHand = [
      { address: '10.0.0.6', port: 19_532, apiKey: 'secret' },
      { address: 'kai.local', port: 19_600 },
    ];
    const { edits, left } = takeOver({ discovery: { manualPeers, enabled: false } }, { addedByHand });
    expect(edits.find(({ path }) => path.join('.') === 'discovery.manualPeers')?.value).toEqual([
      { address: '10.0.0.5', port: 19_532 },
      { address: '10.0.0.6', port: 19_532 },
      { address: 'kai.local', port: 19_600 },
    ]);
    expect(left).toEqual([{ key: 'discovery.manualPeers', reason: '2 of its entries have no usable address' }]);
    expect(editOf({ discovery: { manualPeers, enabled: false } }, 'discovery.enabled')).toBe(false);
  });

  it('give way to LOOPSY_PORT', () => {
    const { edits, left } = takeOver({ server: { port: 1 } }, { addedByHand: [], port: 19_700 });
    expect(edits).toContainEqual({ path: ['server', 'port'], value: 19_700 });
    expect(left).toEqual([{ key: 'server.port', reason: 'LOOPSY_PORT says 19700' }]);
  });

  it('are listed within a bound', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`key${at}`, at]));
    const { left } = takeOver(many, { addedByHand: [] });
    expect(left).toHaveLength(201);
    expect(left.at(-1)).toEqual({ key: '…', reason: 'and 4800 more' });
    const peers = Array.from({ length: 1500 }, (_, at) => ({ address: `h${at}`, port: 1 }));
    expect(takeOver({ discovery: { manualPeers: peers } }, { addedByHand: [] }).left).toEqual([
      { key: 'discovery.manualPeers', reason: '500 of its entries have no usable address' },
    ]);
  });

  it('never make an import fail, whatever a file holds', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue()), (old, addedByHand) => {
        const { edits, left } = takeOver(old, { addedByHand });
        expect(edits[0]).toEqual({ path: ['tls', 'enabled'], value: true });
        for (const { reason } of left) expect(typeof reason).toBe('string');
      }),
    );
  });
});
