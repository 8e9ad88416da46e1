import type { Answer } from '../../helpers/ask.ts';

/** Asks as the owner. */
type Owner = (method: string, path: string, body?: object) => Promise<Answer>;

/** Provokes what messages answer. */
export const provokeMessages = (owner: Owner) => ({
  message_not_found: () => owner('GET', `/messages/${'0'.repeat(26)}`),
  message_too_large: () => owner('POST', '/messages', { to: '#x', body: 'x'.repeat(262_145) }),
  message_loop: async () => {
    for (let at = 0; at < 20; at += 1) await owner('POST', '/messages', { to: '#loop', body: 'x' });
    return owner('POST', '/messages', { to: '#loop', body: 'x' });
  },
  message_taken: async () => {
    const { text } = await owner('POST', '/messages', { to: '#taken', body: 'x' });
    const { id } = JSON.parse(text) as { id: string };
    return owner('POST', `/messages/${id}/read`, {});
  },
});
