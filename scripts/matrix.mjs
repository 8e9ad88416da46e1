// `npm run test:matrix [-- 20|22|24|installed …] [<filter>]`: every test on each version of Node, one after the other,
// then the tests from end to end against the package as npm installs it. Exit 1 where anything is red.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

import { bringNode, NODE_MAJORS, npmCommand } from './lib/node-versions.mjs';
import { binOf, ROOT, runProgram } from './lib/steps.mjs';

const OUT = path.join(ROOT, '.cache', 'matrix');
const INSTALLED = 'installed';
const COLUMNS = [11, 10, 8, 8, 9, 7];

const given = process.argv.slice(2);
const parts = [...NODE_MAJORS.map(String), INSTALLED];
const chosen = given.filter((arg) => parts.includes(arg));
const filters = given.filter((arg) => !parts.includes(arg));
const wanted = (part) => chosen.length === 0 || chosen.includes(String(part));

/** What a program under one Node finds: that Node first, and npm as it is. */
const envOf = (program, more = {}) => ({
  PATH: [path.dirname(program), process.env.PATH].join(path.delimiter),
  ...more,
});

/** Runs tests with one Node. @returns a row of the summary. */
async function test(name, node, { folders, env = {} }) {
  console.log(`\n== ${name}: Node ${node.version}`);
  const results = path.join(OUT, `${name}.json`);
  rmSync(results, { force: true });
  const args = [binOf('vitest'), 'run', ...folders];
  const { ok, ms } = await runProgram(node.program, args, envOf(node.program, { TEST_RESULTS: results, ...env }));
  const counts = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : undefined;
  return { name, version: node.version, ok: ok && counts !== undefined, ms, ...counts };
}

/** The build makes bytecode for the Node that runs it, and must work with each. */
async function build({ program, version }) {
  const { ok } = await runProgram(program, [path.join(ROOT, 'scripts', 'build.mjs')], envOf(program));
  if (!ok) throw new Error(`the build failed on Node ${version}`);
}

/** Packs, and installs into an empty prefix. @returns the installed files. */
async function install() {
  const folder = path.join(OUT, 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const [npm, ...before] = npmCommand();
  const run = async (...args) => {
    const { ok } = await runProgram(npm, [...before, ...args, '--ignore-scripts', '--loglevel=error'], {});
    if (!ok) throw new Error(`npm ${args.join(' ')} failed`);
  };
  await run('pack', '--pack-destination', folder);
  const { name, version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const prefix = path.join(folder, 'prefix');
  await run('install', '--global', '--offline', '--prefix', prefix, path.join(folder, `${name}-${version}.tgz`));
  return path.join(prefix, process.platform === 'win32' ? 'node_modules' : 'lib/node_modules', name, 'dist');
}

const line = (cells) =>
  cells
    .map((cell, at) => String(cell).padEnd(COLUMNS[at]))
    .join('')
    .trimEnd();

function summarise(rows) {
  for (const { name, skips = [] } of rows)
    for (const skip of skips) console.log(`skipped (${name}): ${skip.name} – ${skip.reason}`);
  console.log(`\n${line(['', 'Node', 'passed', 'failed', 'skipped', 'time'])}`);
  for (const { name, version, ok, ms, passed = 0, failed = 0, skipped = 0 } of rows) {
    const cells = [name, version, passed, failed, skipped, `${Math.round(ms / 1000)} s`, ok ? 'ok' : 'FAILED'];
    console.log(line(cells));
  }
}

async function main() {
  mkdirSync(OUT, { recursive: true });
  const rows = [];
  const nodes = [];
  for (const major of NODE_MAJORS)
    if (wanted(major) || (wanted(INSTALLED) && nodes.length === 0)) nodes.push(await bringNode(major));
  console.log(`Node ${nodes.map(({ version }) => version).join(', ')}`);
  for (const node of nodes.filter(({ major }) => wanted(major))) {
    await build(node);
    rows.push(await test(String(node.major), node, { folders: filters }));
  }
  if (wanted(INSTALLED)) {
    const env = { LOOPSY_TEST_DIST: await install() };
    rows.push(await test(INSTALLED, nodes[0], { folders: filters.length === 0 ? ['test/e2e'] : filters, env }));
  }
  summarise(rows);
  if (rows.some(({ ok }) => !ok)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error(`loopsy: ${error.message}`);
  process.exitCode = 1;
}
