import net from 'node:net';

import { describe, expect, it } from 'vitest';

import { bindAddresses, ListenFailure } from '../../../src/daemon/edge/bind-addresses.ts';
import { GET, listen, visit } from './listening.ts';

describe('addresses', () => {
  const bind = (host: string, port: number): Promise<string> =>
    new Promise((resolve) => {
      const server = net.createServer();
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      server.listen({ host, port }, () => server.close(() => resolve('bound')));
    });

  it('owns [::1] with 0.0.0.0, so that no local user can take it', async () => {
    const { port, listener } = await listen({ bindings: bindAddresses('0.0.0.0') });
    expect(listener.addresses).toEqual([`[::]:${port}`]);
    for (const host of ['::1', '127.0.0.1', '0.0.0.0']) expect(await bind(host, port)).toBe('EADDRINUSE');
    for (const host of ['127.0.0.1', '::1']) {
      const coming = visit(port, { host });
      coming.socket.write(GET);
      await coming.until('ok');
    }
  });

  it('listens on both loopback addresses and nowhere else when local only', async () => {
    const { port, listener } = await listen({ bindings: bindAddresses('0.0.0.0', true) });
    expect(listener.addresses).toEqual([`127.0.0.1:${port}`, `[::1]:${port}`]);
  });

  it('adds loopback to an explicit host, because local clients dial 127.0.0.1', () => {
    expect(bindAddresses('192.168.1.5').map((binding) => binding.host)).toEqual(['192.168.1.5', '127.0.0.1', '::1']);
    expect(bindAddresses('localhost').map((binding) => binding.host)).toEqual(['127.0.0.1', '::1']);
  });

  it('says which address and port are taken', async () => {
    const { port } = await listen({ bindings: [{ host: '127.0.0.1' }] });
    const second = listen({ bindings: bindAddresses('0.0.0.0'), port });
    await expect(second).rejects.toBeInstanceOf(ListenFailure);
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE', port });
  });

  it('does without an IPv6 address that the system lacks', async () => {
    const { addresses } = (
      await listen({ bindings: [{ host: '127.0.0.1' }, { host: '2001:db8::1', withoutIpv6: 'none' }] })
    ).listener;
    expect(addresses).toHaveLength(1);
  });
});
