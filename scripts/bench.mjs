// `npm run bench [-- <filter>]`: runs each bench/*.bench.ts in a process of its own, one after the other. Each prints
// its figures as JSON lines; exit 1 where a bar is missed or could not be measured, or a script fails. `--from <folder>`
// takes the scripts of another folder, for tests.
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import esbuild from 'esbuild';

import { ROOT } from './build.mjs';

// At this depth the helpers find dist/ as they do in test/helpers/.
const OUT = path.join(ROOT, '.cache', 'bench');

const args = process.argv.slice(2);
const OTHER = args[0] === '--from' ? args.splice(0, 2)[1] : undefined;
const FROM = OTHER ?? path.join(ROOT, 'bench');

async function bundle(name) {
  const outfile = path.join(OUT, `${name}.mjs`);
  await esbuild.build({
    entryPoints: [path.join(FROM, `${name}.bench.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  return outfile;
}

function run(file) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.on('close', (code) => resolve({ code, output }));
  });
}

const isFigure = (line) => line.startsWith('{');
const barOf = ({ most, least }) => (most === undefined ? (least === undefined ? '' : `≥ ${least}`) : `≤ ${most}`);

function show({ name, value, unit, met, unmeasured, ...bar }) {
  if (unmeasured !== undefined) return console.log(`NOT MEASURED  ${name}: ${unmeasured}`);
  const shown = `${value}${unit === 'ratio' ? ' ×' : ` ${unit}`}`;
  console.log(`${met ? 'ok    ' : 'MISSED'}  ${shown.padStart(10)}  ${barOf(bar).padEnd(8)}  ${name}`);
}

mkdirSync(OUT, { recursive: true });
const filters = args;
const names = readdirSync(FROM)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length))
  .filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)));
const results = [];
let bad = 0;
for (const name of names) {
  const { code, output } = await run(await bundle(name));
  const figures = output
    .split('\n')
    .filter(isFigure)
    .map((line) => JSON.parse(line));
  for (const figure of figures) show(figure);
  for (const line of output.split('\n').filter((text) => text !== '' && !isFigure(text))) console.log(line);
  if (code !== 0) bad += 1;
  if (code !== 0 && figures.every(({ met }) => met)) console.log(`FAILED  ${name}: exit code ${code}`);
  results.push({ name, code, figures });
}
const kept = path.join(ROOT, '.cache', 'bench-results.json');
if (OTHER === undefined) writeFileSync(kept, `${JSON.stringify(results, null, 2)}\n`);
const idOf = (name) => /\[(.+)\]$/.exec(name)?.[1] ?? name;
const missing = results.flatMap(({ figures }) => figures.filter(({ unmeasured }) => unmeasured !== undefined));
const missed = results.filter(({ figures }) => figures.some(({ met, unmeasured }) => !met && unmeasured === undefined));
if (bad === 0) console.log(`all bars of ${names.length} scripts are met`);
if (missed.length > 0)
  console.log(`${missed.length} of ${names.length} scripts ${missed.length === 1 ? 'misses' : 'miss'} a bar`);
if (missing.length > 0)
  console.log(
    `${missing.length} ${missing.length === 1 ? 'bar was' : 'bars were'} not measured: ${[...new Set(missing.map(({ name }) => idOf(name)))].join(', ')}`,
  );
process.exitCode = bad === 0 && names.length > 0 ? 0 : 1;
