// `npm start`: this machine's node and a second one beside it, which trust each other and try everything on each other.
// What runs already is left as it is; no service and no agent's settings are touched.
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, hostname } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('../dist/cli/index.js', import.meta.url));
const FIRST = path.resolve(process.env.LOOPSY_DATA_DIR ?? path.join(homedir(), '.loopsy'));
const SECOND = `${FIRST}-second`;
const SECOND_PORT = 19_533;
const PORTS_TRIED = 100;

/** This shell's key and port are meant for the first node alone. */
function ownEnv(dataDir) {
  if (dataDir === FIRST) return process.env;
  const { LOOPSY_PORT: _port, LOOPSY_API_KEY: _key, ...rest } = process.env;
  return rest;
}

/** Runs one loopsy command on a data folder; answers with its JSON. */
async function loopsy(dataDir, args, { env = {}, input = '' } = {}) {
  const options = { env: { ...ownEnv(dataDir), ...env }, maxBuffer: 16 * 1024 * 1024 };
  try {
    const running = run(process.execPath, [CLI, '--data-dir', dataDir, '--json', ...args], options);
    running.child.stdin.on('error', () => undefined).end(input);
    const { stdout } = await running;
    return stdout === '' ? undefined : JSON.parse(stdout);
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}

function reasonOf(error) {
  try {
    const { message, hint } = JSON.parse(error.stdout).error;
    return hint === undefined ? message : `${message}: ${hint}`;
  } catch {
    return `${error.stderr ?? ''}${error.stdout ?? ''}`.trim() || error.message;
  }
}

/** Runs one loopsy command in front of the person who watches. @returns its exit code. */
const show = (dataDir, args) =>
  new Promise((resolve, reject) => {
    const command = [CLI, '--data-dir', dataDir, ...args];
    const child = spawn(process.execPath, command, { env: ownEnv(dataDir), stdio: 'inherit' });
    child.once('error', reject).once('close', resolve);
  });

const isFree = (port) =>
  new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen({ port, host: '0.0.0.0' }, () => server.close(() => resolve(true)));
  });

async function nextFreePort() {
  for (let port = SECOND_PORT; port < SECOND_PORT + PORTS_TRIED; port += 1) if (await isFree(port)) return port;
  throw new Error(`no free port from ${SECOND_PORT} to ${SECOND_PORT + PORTS_TRIED - 1}`);
}

/** Brings a node up, and says how long that took, or that it was up. */
async function up(dataDir, env) {
  const begun = performance.now();
  const isNew = !existsSync(path.join(dataDir, 'config.yaml'));
  const { started, status } = await loopsy(dataDir, ['up'], { env: isNew ? await env() : {} });
  return {
    ...status,
    dataDir,
    note: started ? `started in ${Math.round(performance.now() - begun)} ms` : 'was running',
  };
}

/** A node that has the host name of the first takes another: commands say where they ran. */
async function rename({ dataDir, hostname: name }, first) {
  if (name !== first.hostname) return;
  const { url, token } = JSON.parse(readFileSync(path.join(dataDir, 'node.json'), 'utf8'));
  const other = `${hostname().split('.')[0].slice(0, 40)}-second`;
  const answer = await fetch(new URL('/api/v1/config', url), {
    method: 'PATCH',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ changes: { 'server.hostname': other } }),
  });
  if (!answer.ok) throw new Error(`the second node can't be renamed: ${await answer.text()}`);
}

/** Pairs two nodes by an invitation, where they don't trust each other. @returns what the second is called by the first. */
async function connect(first, second) {
  const [there, here] = [await nameOf(first, second), await nameOf(second, first)];
  if (there !== undefined && here !== undefined) return there;
  const invite = [
    '--data-dir',
    second.dataDir,
    '--json',
    'pair',
    '--invite',
    ...(here === undefined ? ['--name', 'first'] : []),
  ];
  const host = spawn(process.execPath, [CLI, ...invite], {
    env: ownEnv(second.dataDir),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => host.once('close', resolve));
  const lines = createInterface({ input: host.stdout });
  const line = await new Promise((resolve) => lines.once('line', resolve).once('close', () => resolve('{}')));
  try {
    const { inviteCode, error } = JSON.parse(line);
    if (inviteCode === undefined) throw new Error(error?.message ?? 'the second node shows no invitation');
    const choices = ['--code', '-', '--yes', ...(there === undefined ? ['--name', 'second'] : [])];
    const { peer } = await loopsy(first.dataDir, ['pair', `127.0.0.1:${second.port}`, ...choices], {
      input: inviteCode,
    });
    if ((await ended) !== 0) throw new Error('the second node did not finish pairing');
    return peer.name;
  } finally {
    // An invitation that was not used is taken back.
    if (host.exitCode === null) host.kill('SIGINT');
    lines.close();
  }
}

/** What one node calls the other, where it trusts it. */
async function nameOf(from, to) {
  const { peers } = await loopsy(from.dataDir, ['peers', 'list']);
  return peers.find(({ nodeId, trusted }) => nodeId === to.nodeId && trusted)?.name;
}

async function online(dataDir, name) {
  for (let left = 50; left > 0; left -= 1) {
    const { peers } = await loopsy(dataDir, ['peers', 'list']);
    if (peers.some((peer) => peer.name === name && peer.status === 'online')) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${name} does not come online; \`${command(dataDir)} doctor\` says why`);
}

const command = (dataDir) =>
  `node ${path.relative(process.cwd(), CLI)}${dataDir === FIRST && process.env.LOOPSY_DATA_DIR === undefined ? '' : ` --data-dir ${dataDir}`}`;

async function main() {
  const first = await up(FIRST, () => ({}));
  const second = await up(SECOND, async () => ({ LOOPSY_PORT: String(await nextFreePort()) }));
  await rename(second, first);
  const there = await connect(first, second);
  await online(FIRST, there);

  console.log(`loopsy ${first.version}\n`);
  console.log(`this machine  port ${first.port}  ${FIRST}  ${first.note}`);
  console.log(`second node   port ${second.port}  ${SECOND}  ${second.note}`);
  console.log(`connected: each trusts the other; the second is called "${there}" here`);
  for (const args of [
    ['exec', there, '--', process.execPath, '-p', '`hello from process ${process.pid} on ${process.platform}`'],
    ['selftest', there],
  ]) {
    const words = args.map((word) => (/[\s()]/.test(word) ? `'${word}'` : word)).join(' ');
    console.log(`\n$ loopsy ${words}`);
    if ((await show(FIRST, args)) !== 0)
      throw new Error(`\`loopsy ${words}\` failed; \`${command(FIRST)} doctor\` may say why`);
  }
  console.log(`\nTry:   ${command(FIRST)} status`);
  console.log(`       ${command(FIRST)} exec ${there} -- <any command>`);
  console.log(`Stop:  ${command(FIRST)} stop`);
  console.log(`       ${command(SECOND)} stop`);
}

try {
  await main();
} catch (error) {
  console.error(`loopsy: ${error.message}`);
  process.exitCode = 1;
}
