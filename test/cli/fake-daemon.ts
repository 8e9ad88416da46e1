// A node's program as far as `init`, `start` and `stop` can tell, in a process of its own. What it does is said by a
// file `behaviour` in its data folder, since a node's environment is built from a list.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { nodePaths } from '../../src/config/paths.ts';
import { removeRegistration, writeRegistration } from '../../src/config/registration.ts';
import { reportStart } from '../../src/config/start-report.ts';
import { answerChallenge, hashToken } from '../../src/kernel/token-proof.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';

const dataDir = process.env['LOOPSY_DATA_DIR'] ?? '';
const paths = nodePaths(dataDir);
const behaviour = existsSync(join(dataDir, 'behaviour')) ? readFileSync(join(dataDir, 'behaviour'), 'utf8').trim() : '';
const nodeId = 'a'.repeat(32);
const token = 'f'.repeat(64);

const fail = (error: LoopsyError): never => {
  console.log(JSON.stringify(error.toBody()));
  reportStart(error.toBody());
  process.exit(1);
};

if (behaviour === 'broken config')
  fail(
    new LoopsyError('config_invalid', {
      message: `${paths.config}:3: there is no key "sever"`,
      hint: 'did you mean "server"?',
    }),
  );
if (process.argv.includes('--init')) {
  console.log(JSON.stringify({ nodeId, fingerprint: '3f9a'.repeat(16) }));
  process.exit(0);
}
if (behaviour.startsWith('port taken'))
  fail(new LoopsyError('conflict', { message: 'port taken', details: { port: Number(behaviour.split(' ')[2]) } }));
if (behaviour === 'dies') process.exit(7);

const status = (port: number) => ({
  nodeId, hostname: 'kai', platform: 'linux', version: '2.0.0', port, capabilities: [], fingerprint: '3f9a'.repeat(16), user: 'kai', pid: process.pid, uptime: 5, dataDir,
  listening: [`127.0.0.1:${port}`, process.argv.slice(2).join(' ')], addresses: [], tls: true, peers: { total: 0, online: 0, offline: 0 }, jobs: { active: 0, queued: 0, detached: 0, held: 0, total: 0 },
  memory: { rss: 1 }, restartNeeded: [], warnings: [],
}); // prettier-ignore

const server = createServer((request, response) => {
  const { port } = server.address() as AddressInfo;
  const proof = answerChallenge(String(request.headers['loopsy-challenge']), {
    localPort: port,
    findHash: () => hashToken(token),
  });
  if (proof !== undefined) response.setHeader('loopsy-proof', proof);
  if (request.url === '/api/v1/health')
    response.end(JSON.stringify({ status: 'ok', nodeId, uptime: 5, version: '2.0.0' }));
  if (request.url === '/api/v1/status') response.end(JSON.stringify(status(port)));
  if (request.url === '/api/v1/doctor') response.end(JSON.stringify({ checks: [] }));
  if (request.url === '/api/v1/stop')
    response.end(JSON.stringify({ success: true, pid: process.pid }), () => void stop());
});

const stop = async (): Promise<void> => {
  if (behaviour === 'never stops') return;
  server.close();
  server.closeAllConnections();
  await removeRegistration(paths, 'boot');
  setTimeout(() => process.exit(0), 100);
};
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const registration = {
    url,
    host: '127.0.0.1',
    port,
    pid: process.pid,
    version: '2.0.0',
    token,
    nodeId,
    boot: 'boot',
    startedAt: 1,
    program: process.argv[1] ?? '',
    user: 'kai',
    ...(process.argv.includes('--local-only') ? { reach: 'local-only' as const } : {}),
  };
  void writeRegistration(paths, registration).then(() => reportStart({ ready: true, url, pid: process.pid }));
});
