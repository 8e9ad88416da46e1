// `npm start`: this machine's node and a second one beside it, connected by fingerprint, running commands for each
// other. What runs already is left as it is; no service and no agent's settings are touched.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, hostname } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('../dist/cli/index.js', import.meta.url));
const FIRST = path.resolve(process.env.LOOPSY_DATA_DIR ?? path.join(homedir(), '.loopsy'));
const SECOND = `${FIRST}-second`;
const SECOND_PORT = 19_533;
const PORTS_TRIED = 100;
const NOT_RUNNING = 3;
// Few: a peer may run 30 commands a minute.
const ROUNDS = 5;

/** This shell's key and port are meant for the first node alone. */
function ownEnv(dataDir) {
  if (dataDir === FIRST) return process.env;
  const { LOOPSY_PORT: _port, LOOPSY_API_KEY: _key, ...rest } = process.env;
  return rest;
}

/** Runs one loopsy command on a data folder; answers with its JSON. */
async function loopsy(dataDir, args, env = {}) {
  const child = { env: { ...ownEnv(dataDir), ...env }, maxBuffer: 16 * 1024 * 1024 };
  try {
    const { stdout } = await run(process.execPath, [CLI, '--data-dir', dataDir, '--json', ...args], child);
    return stdout === '' ? undefined : JSON.parse(stdout);
  } catch (error) {
    throw Object.assign(new Error(reasonOf(error)), { exit: error.code });
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

const isFree = (port) =>
  new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen({ port, host: '0.0.0.0' }, () => server.close(() => resolve(true)));
  });

async function nextFreePort() {
  for (let port = SECOND_PORT; port < SECOND_PORT + PORTS_TRIED; port += 1) if (await isFree(port)) return port;
  throw new Error(`no free port from ${SECOND_PORT} to ${SECOND_PORT + PORTS_TRIED - 1}`);
}

async function statusOf(dataDir) {
  try {
    return await loopsy(dataDir, ['status']);
  } catch (error) {
    if (error.exit === NOT_RUNNING) return undefined;
    throw error;
  }
}

/** Brings a node up, and says how long that took, or that it was up. */
async function up(dataDir, env) {
  const running = existsSync(path.join(dataDir, 'config.yaml')) ? await statusOf(dataDir) : undefined;
  if (running !== undefined) return { ...running, dataDir, note: 'was running' };
  const started = performance.now();
  if (!existsSync(path.join(dataDir, 'config.yaml'))) await loopsy(dataDir, ['init', '--no-mcp'], await env());
  await loopsy(dataDir, ['start']);
  const note = `started in ${Math.round(performance.now() - started)} ms`;
  return { ...(await loopsy(dataDir, ['status'])), dataDir, note };
}

/** A request to a node as its owner, over one kept connection. */
async function request(dataDir, [method, route], body) {
  const { url, token } = JSON.parse(readFileSync(path.join(dataDir, 'node.json'), 'utf8'));
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(new URL(`/api/v1${route}`, url), { method, headers, body: JSON.stringify(body) });
  const document = await answer.json();
  if (!answer.ok)
    throw Object.assign(new Error(`${method} ${route}: ${document.error?.message ?? answer.status}`), {
      status: answer.status,
    });
  return document;
}

/** Trust on one side. @returns the other node's name there. */
async function trust(from, to, name) {
  const { peers } = await loopsy(from.dataDir, ['peers', 'list']);
  const known = peers.find(({ nodeId, trusted }) => nodeId === to.nodeId && trusted);
  if (known !== undefined) return known.name;
  const address = `127.0.0.1:${to.port}`;
  const { peer } = await loopsy(from.dataDir, [
    'connect',
    address,
    '--fingerprint',
    to.fingerprint,
    '--name',
    name,
    '--yes',
  ]);
  return peer.name;
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
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Runs a command on the peer, as a person would type it. */
async function show(peer, words) {
  const started = performance.now();
  const { stdout } = await run(process.execPath, [CLI, '--data-dir', FIRST, 'exec', peer, '--', ...words]);
  const ms = Math.round(performance.now() - started);
  const shown = words.map((word) => (/[\s()]/.test(word) ? `'${word}'` : word)).join(' ');
  console.log(`\n$ loopsy exec ${peer} -- ${shown}\n${stdout.trimEnd()}\n  ${ms} ms as a whole command`);
}

/** What the way there and back adds to a command's own time. */
async function measure(peer) {
  const times = [];
  const body = { command: process.execPath, args: ['--version'] };
  let last;
  for (let round = 0; round < ROUNDS; round += 1) {
    const started = performance.now();
    last = await request(FIRST, ['POST', `/execute?peer=${peer}`], body);
    times.push(performance.now() - started - last.duration);
  }
  const added = Math.max(0, median(times)).toFixed(1);
  console.log(`\nThe way there and back adds ${added} ms to a command's own time (median of ${ROUNDS}).`);
  console.log(`It ran on ${last.host} as ${last.user} in ${last.cwd}, exit code ${last.exitCode}.`);
}

async function main() {
  const first = await up(FIRST, () => ({}));
  const second = await up(SECOND, async () => ({ LOOPSY_PORT: String(await nextFreePort()) }));
  const name = `${hostname().split('.')[0].slice(0, 40)}-second`;
  if (second.hostname === first.hostname)
    await request(SECOND, ['PATCH', '/config'], { changes: { 'server.hostname': name } });
  const there = await trust(first, second, 'second');
  await trust(second, first, 'first');
  await online(FIRST, there);

  console.log(`loopsy ${first.version}\n`);
  console.log(`this machine  port ${first.port}  ${FIRST}  ${first.note}`);
  console.log(`second node   port ${second.port}  ${SECOND}  ${second.note}`);
  console.log(`connected: each trusts the other's fingerprint; the second is called "${there}" here`);
  await show(there, [process.execPath, '-p', '`hello from process ${process.pid} on ${process.platform}`']);
  await show(there, ['whoami']);
  await measure(there).catch((error) => {
    if (error.status !== 429) throw error;
    console.log('\nNot measured: this machine has used up its commands of this minute there (rateLimits.execute).');
  });

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
