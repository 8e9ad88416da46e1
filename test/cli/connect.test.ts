import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createHttpServer } from 'node:http';

import { describe, expect, it, onTestFinished } from 'vitest';

import { connectNode } from '../../src/cli/connect.ts';
import { nodePaths } from '../../src/config/paths.ts';
import { writeRegistration } from '../../src/config/registration.ts';
import { answerChallenge, hashToken } from '../../src/kernel/token-proof.ts';
import { verifies } from '../requirements.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { FakeNode } from './fake-node.ts';
import { runCli } from './run-cli.ts';

const parts = (node: FakeNode, apiKey?: string) => ({
  registration: node.registration(),
  apiKey,
  note: () => undefined,
});

describe('the way to the local node', () => {
  it(
    verifies('cli.registration', 'proves the connection first, and sends the token on that same connection'),
    async () => {
      const node = await FakeNode.start();
      const { client } = await connectNode(parts(node));
      await client.call('system.status', {});
      await client.call('peer.list', {});
      expect(node.seen.map(({ id, connection, token }) => [id, connection, token])).toEqual([
        ['system.health', 1, undefined],
        ['system.status', 1, node.token],
        ['peer.list', 1, node.token],
      ]);
    },
  );

  it('proves each further connection too, before anything secret is sent on it', async () => {
    const node = await FakeNode.start();
    const { client } = await connectNode(parts(node));
    await Promise.all([client.call('system.status', {}), client.call('peer.list', {}), client.call('job.list', {})]);
    for (let connection = 1; connection <= node.connections; connection++) {
      const [first, ...rest] = node.seen.filter((seen) => seen.connection === connection);
      expect(first).toMatchObject({ id: 'system.health', token: undefined });
      expect(rest.every(({ token }) => token === node.token)).toBe(true);
    }
    expect(node.connections).toBe(3);
  });

  it('opens and proves a new connection where the node has closed the idle one', async () => {
    const node = await FakeNode.start();
    const { client } = await connectNode(parts(node));
    await client.call('system.status', {});
    node.server.closeIdleConnections();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await client.call('peer.list', {});
    expect(node.seen.map(({ id, connection }) => [id, connection])).toEqual([
      ['system.health', 1],
      ['system.status', 1],
      ['system.health', 2],
      ['peer.list', 2],
    ]);
  });

  it('sends no token to another program that has taken the port: exit 3', async () => {
    const node = await FakeNode.start();
    for (const proves of [undefined, 'another token']) {
      node.proves = proves;
      const { code, stderr } = await runCli(['peers'], { dataDir: node.folder });
      expect(code).toBe(3);
      expect(stderr).toContain('something else answers');
    }
    expect(node.seen.map(({ id, token }) => [id, token])).toEqual([
      ['system.health', undefined],
      ['system.health', undefined],
    ]);
  });

  it('sends no token to a relay that fetches the proof through another port', async () => {
    const node = await FakeNode.start();
    const relay = createHttpServer((request, response) => {
      expect(request.headers.authorization).toBeUndefined();
      const header = String(request.headers['loopsy-challenge']);
      // A real node answers for the port at its own end of the connection.
      const proof = answerChallenge(header, { localPort: node.port, findHash: () => hashToken(node.token) });
      response.setHeader('loopsy-proof', proof ?? '').end('{"status":"ok"}');
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    onTestFinished(() => void relay.close());
    const { port } = relay.address() as AddressInfo;
    await expect(connectNode({ ...parts(node), registration: { ...node.registration(), port } })).rejects.toMatchObject(
      {
        error: 'node_not_running',
        message: expect.stringContaining('something else'),
      },
    );
  });

  it.each([
    ['closes at once', (socket: Socket) => void socket.destroy()],
    ['speaks another language', (socket: Socket) => void socket.end('SSH-2.0-OpenSSH_9\r\n')],
    ['answers without an end', (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{')],
  ])('knows that what %s is no node', async (_what, onConnection) => {
    const server = createServer(onConnection);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const folder = await tempFolder();
    const node = await FakeNode.start();
    await writeRegistration(nodePaths(folder), {
      ...node.registration(),
      port: (server.address() as AddressInfo).port,
    });
    const { code, stderr } = await runCli(['status'], { dataDir: folder });
    expect(code).toBe(3);
    expect(stderr).toContain('something else answers');
  });

  it('says that it timed out where something accepts and is silent: exit 6, not "not running"', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const sockets: Socket[] = [];
    server.on('connection', (socket) => sockets.push(socket));
    onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
    const node = await FakeNode.start();
    await writeRegistration(nodePaths(node.folder), {
      ...node.registration(),
      port: (server.address() as AddressInfo).port,
    });
    expect((await runCli(['status'], { dataDir: node.folder })).code).toBe(6);
  });

  it('says that the node is not running where it left its registration behind', async () => {
    const node = await FakeNode.start();
    node.close();
    await once(node.server, 'close');
    const { code, stderr } = await runCli(['status'], { dataDir: node.folder });
    expect(code).toBe(3);
    expect(stderr).toContain('nothing answers on its port');
  });

  it(
    verifies(
      'cli.api-key-env',
      'uses LOOPSY_API_KEY before the registration’s token, and says where it is wrong: exit 4, not 3',
    ),
    async () => {
      const node = await FakeNode.start();
      const other = { ...node.registration(), token: 'stale' };
      await writeRegistration(nodePaths(node.folder), other);
      expect((await runCli(['peers'], { dataDir: node.folder, env: { LOOPSY_API_KEY: node.token } })).code).toBe(0);
      await writeRegistration(nodePaths(node.folder), node.registration());
      const wrong = await runCli(['peers'], { dataDir: node.folder, env: { LOOPSY_API_KEY: 'x'.repeat(64) } });
      expect(wrong.code).toBe(4);
      expect(wrong.stderr).toContain('LOOPSY_API_KEY');
      expect(node.seen.every(({ token }) => token === undefined || token === node.token)).toBe(true);
    },
  );
});
