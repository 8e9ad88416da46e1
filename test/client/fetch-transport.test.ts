import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import { createClient } from '../../src/client/client.ts';
import { fetchTransport } from '../../src/client/fetch-transport.ts';

const serve = async (handler: Parameters<typeof createServer>[1]): Promise<string> => {
  const server = createServer({}, handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const clientAt = (baseUrl: string) => createClient({ transport: fetchTransport({ fetch, baseUrl, token: 'secret' }) });

describe('the transport over fetch', () => {
  it('sends the token, a body, and reads the answer', async () => {
    const baseUrl = await serve((request, response) => {
      expect(request.headers).toMatchObject({ authorization: 'Bearer secret', 'content-type': 'application/json' });
      request.pipe(response);
    });
    expect(await clientAt(baseUrl).call('peer.add', { address: 'kai' })).toEqual({ address: 'kai' });
  });

  it('streams an upload', async () => {
    const baseUrl = await serve((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => response.end(JSON.stringify({ success: true, bytes })));
    });
    const body = (async function* () {
      for (let n = 0; n < 10; n++) yield new Uint8Array(1000);
    })();
    expect(await clientAt(baseUrl).upload('job.stdin', { jobId: 'x' }, { body })).toMatchObject({ bytes: 10_000 });
  });

  it('sends what a chunk held when it was given, though its memory is used for the next', async () => {
    const baseUrl = await serve((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => response.end(JSON.stringify({ text })));
    });
    const body = (async function* () {
      const memory = Buffer.alloc(1);
      for (const letter of 'abcdefgh') {
        memory.write(letter);
        yield memory;
      }
    })();
    expect(await clientAt(baseUrl).upload('job.stdin', { jobId: 'x' }, { body })).toEqual({ text: 'abcdefgh' });
  });

  it('follows no redirect: a token goes to no other place', async () => {
    const elsewhere = await serve(() => expect.fail('the token went elsewhere'));
    const baseUrl = await serve((_request, response) => response.writeHead(307, { location: elsewhere }).end());
    await expect(clientAt(baseUrl).call('peer.list', {})).rejects.toMatchObject({ error: 'node_not_running' });
  });

  it('says that the node is not running where nobody listens', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = clientAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.close();
    await once(server, 'close');
    await expect(client.call('peer.list', {})).rejects.toMatchObject({ error: 'node_not_running' });
  });
});
