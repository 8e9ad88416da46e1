import { afterEach, describe, expect, it } from 'vitest';

import type { Lease } from '../../../src/protocol/context.ts';
import { type Asking, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { LAN } from './cast.ts';

let node: InProcessNode;

afterEach(() => node.remove());

const held = async (): Promise<string[]> => {
  const { leases } = await node.owner<{ leases: Lease[] }>('GET', '/leases');
  return leases.map(({ name }) => name);
};

const acquire = async (who: Partial<Asking>, name: string): Promise<number> =>
  (await node.ask({ ...who, method: 'POST', path: `/leases/${name}`, body: { ttl: 86_400 } })).status;

describe('a lease taken for a day', () => {
  it(
    verifies('context.lease-gone', 'by a key, or a machine, ends with its trust: nobody waits out that day'),
    async () => {
      const kim = await makeMachine();
      let key = '';
      node = await startNode({
        lan: true,
        seed: async (now) => {
          await now.trustMachine({ certificate: kim.certificate, name: 'kim' });
          key = (await now.addKey('ci', { level: 'full' })).key;
        },
      });
      const ci = { ...LAN, tls: 'no certificate' as const, key };
      expect(await acquire(ci, 'of-key')).toBe(200);
      expect(await acquire({ ...LAN, tls: shownBy(kim) }, 'of-peer')).toBe(200);
      expect(await acquire({ key: node.tokens.owner }, 'mine')).toBe(200);

      await node.owner('DELETE', '/keys/ci');
      await until(async () => !(await held()).includes('of-key'), 5000);
      expect(await held()).toEqual(['mine', 'of-peer']);

      await node.owner('DELETE', '/peers/kim');
      await until(async () => !(await held()).includes('of-peer'), 5000);
      expect(await held()).toEqual(['mine']);
    },
  );
});
