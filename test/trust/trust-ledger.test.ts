import { expect, it } from 'vitest';

import { TrustBook } from '../../src/trust/pins.ts';
import { makeMachine, TrustDesk } from '../helpers/trust-desk.ts';

it('a book whose records fill many pages is read whole: who was removed is not trusted again', async () => {
  const own = await makeMachine();
  const desk = new TrustDesk(own);
  const machines = await Promise.all(Array.from({ length: 4 }, makeMachine));
  for (const [at, { certificate }] of machines.entries()) await desk.book.trustMachine({ certificate, name: `m${at}` });
  await desk.book.removeMachine('m2');
  const [store] = desk.stores;
  const book = new TrustBook({
    // One record a page.
    store: { ...store, list: (query) => store.list({ ...query, maxBytes: 1 }) },
    ownCertificate: own.certificate,
    clock: desk.clock,
    config: { current: () => ({ allowedKeys: {}, pinnedCerts: {} }), onChange: () => () => undefined },
    report: (problem) => expect.fail(problem.message),
  });
  expect(book.machines().map(({ name }) => name)).toEqual(['m0', 'm1', 'm3']);
  const identified = machines.map(({ certificate }) => desk.identify(certificate, book));
  expect(identified.map((one) => ('refused' in one ? one.refused : 'trusted'))).toEqual([
    'trusted',
    'trusted',
    'revoked',
    'trusted',
  ]);
  await book.close();
});
