import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { callBy, OWNER, settle, twoDesks } from './desk.ts';

describe('a message whose life is over, on a disk that is full', () => {
  it(verifies('message.expiry', 'is offered to nobody, and not counted, though it can not be ended yet'), async () => {
    const { kai, maria, clock } = await twoDesks();
    for (const to of ['maria', 'maria#codex']) await kai.send(to, 'short', { ttl: 60 });
    const longer = await kai.send('maria', 'longer', { ttl: 600 });
    await settle();
    expect(maria.messages.unread).toBe(3);
    const commit = maria.store.commit.bind(maria.store);
    maria.store.commit = async () => {
      throw new Error('the disk is full');
    };
    clock.advance(61_000);
    await settle();
    const ids = (messages: readonly { readonly id: string }[]): string[] => messages.map(({ id }) => id);
    expect(ids(maria.waiting())).toEqual([longer]);
    for (const more of [{}, { after: '0' }])
      expect(ids((await maria.messages.wait({ timeoutMs: 0, ...more }, callBy(OWNER))).messages)).toEqual([longer]);
    const codex = maria.messages.wait({ timeoutMs: 1000, as: 'codex', from: 'maria' }, callBy(OWNER));
    expect(maria.messages.unread).toBe(1);
    expect(maria.messages.addresses().addresses.map(({ unread }) => unread)).toEqual([1, 0, undefined]);
    await settle();
    clock.advance(1000);
    expect((await codex).messages).toEqual([]);
    maria.store.commit = commit;
    for (let round = 0; round < 3; round += 1) {
      clock.advance(60_000);
      await settle();
    }
    expect(maria.messages.unread).toBe(1);
    expect(maria.store.usage('mail/unread/').entries).toBe(1);
  });
});
