import { expect, it, onTestFinished } from 'vitest';

import { Due } from '../../../src/daemon/messages/due.ts';
import { nextTurn } from '../../../src/kernel/turn.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

it(verifies('message.due', 'what is due is settled soon behind a sleep in the middle of a look'), async () => {
  const clock = new FakeClock();
  const store = openMemoryStore({ clock });
  const settled: string[] = [];
  const due = new Due({
    store,
    clock,
    prefix: 'd/',
    settle: async (entries) => {
      settled.push(...entries.map(({ key }) => key));
      await store.commit(entries.map(({ key }) => ({ delete: key })));
      clock.advance(8 * 3_600_000);
    },
    onError: (error) => expect.fail(String(error)),
  });
  onTestFinished(() => due.stop());
  const soon = store.now() + 1000;
  await store.commit([
    { put: 'd/1', value: `${soon}` },
    { put: 'd/2', value: `${soon + 30 * 3_600_000}` },
  ]);
  due.start();
  due.expect(soon);
  for (let minute = 0; minute < 33 * 60 && settled.length < 2; minute += 1) {
    clock.advance(60_000);
    for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  }
  expect(settled).toEqual(['d/1', 'd/2']);
});
