// `npm run docs`: writes docs/reference/ from the operation table, the error catalogue and the command specs. The same
// sources give the same bytes; `--check` writes nothing and fails where a file is out of date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { ROOT, evaluate } from './build.mjs';

const source = (file) => evaluate(path.join(ROOT, 'src', file));
const NOTE = '<!-- Written by `npm run docs`. Do not edit. -->\n';
const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');

const ACCESS = {
  public: 'anyone who reaches the port',
  link: 'trusted nodes, over their link',
  owner: 'the owner, on loopback',
  pairing: 'a stranger who shows neither certificate nor key, over TLS',
  'agent-secret': 'who holds the secret of this machine’s agents, on loopback',
};

/** A JSON schema in a few words. */
function typeOf(schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((one) => JSON.stringify(one)).join(', ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.type === 'array') return `list of ${typeOf(schema.items ?? {})}`;
  if (schema.type === 'object' && schema.properties !== undefined) return `{${fieldNames(schema).join(', ')}}`;
  if (schema.type === 'object') return 'object';
  if (schema.format === 'binary') return 'bytes';
  return schema.type ?? 'any';
}

const fieldNames = (schema) => {
  const required = new Set(schema.required ?? []);
  return Object.keys(schema.properties ?? {}).map((name) => (required.has(name) ? name : `${name}?`));
};

function fieldsTable(fields) {
  if (fields.length === 0) return '';
  const rows = fields.map(({ name, where, required, schema }) => [
    `\`${name}\``,
    where,
    required ? 'yes' : 'no',
    typeOf(schema),
    schema.description ?? '',
  ]);
  return `\n${table(['field', 'in', 'required', 'type', 'meaning'], rows)}\n`;
}

function inputsOf(entry) {
  const parameters = (entry.parameters ?? [])
    .filter(({ name }) => name !== 'peer')
    .map(({ name, in: where, required, schema }) => ({ name, where, required, schema }));
  const content = entry.requestBody?.content ?? {};
  const form = content['multipart/form-data']?.schema;
  const body = form ?? content['application/json']?.schema;
  const required = new Set(body?.required ?? []);
  const inBody = Object.entries(body?.properties ?? {}).map(([name, schema]) => ({
    name,
    where: form === undefined ? 'body' : 'form',
    required: required.has(name),
    schema,
  }));
  return [...parameters, ...inBody];
}

function section([id, op], entry) {
  const access = ACCESS[op.access] ?? `scope \`${op.access}\``;
  const facts = [
    `For: ${access}.`,
    op.remote ? 'Takes `?peer=<name>`.' : '',
    op.outbound ? 'Refused over a link.' : '',
    op.limit === undefined ? '' : `Counted by \`rateLimits.${op.limit}\`.`,
    op.form === true ? 'The body is a form (`multipart/form-data`).' : '',
    (op.kind === 'upload' || op.kind === 'exchange') && op.form !== true ? 'The body is bytes.' : '',
    typeof op.cli === 'string' ? `Command: \`loopsy ${op.cli}\`.` : '',
  ];
  const answer = entry.responses[op.status ?? 200].content;
  const [type] = Object.keys(answer);
  const shape = typeOf(Object.values(answer)[0].schema);
  const types = Object.keys(answer)
    .map((one) => `\`${one}\``)
    .join(', ');
  const text = `Answers ${type === 'application/json' ? shape : type}`;
  const says =
    {
      stream: `Answers with ${types}; one event: ${shape}`,
      download: `Answers with bytes (${types})`,
      exchange: `Answers while the bytes come, with one line of JSON at a time: ${shape}`,
    }[op.kind] ?? text;
  return [
    `### ${op.method} ${op.path}`,
    '',
    `\`${id}\`: ${op.summary}. ${facts.filter(Boolean).join(' ')}`,
    fieldsTable(inputsOf(entry)),
    `${says}.`,
    '',
    op.errors.length === 0 ? '' : `Errors of its own: ${op.errors.map((name) => `\`${name}\``).join(', ')}.`,
    '',
  ].join('\n');
}

function restPage(operations, api) {
  const nouns = [...new Set(Object.keys(operations).map((id) => id.split('.')[0]))];
  const parts = nouns.map((noun) => {
    const rows = Object.entries(operations).filter(([id]) => id.startsWith(`${noun}.`));
    const sections = rows.map((row) => {
      const entry = api.paths[row[1].path.replaceAll(/:([a-zA-Z]+)/g, '{$1}')][row[1].method.toLowerCase()];
      return section(row, entry);
    });
    return `## ${noun}\n\n${sections.join('\n')}`;
  });
  const base = api.servers[0].url;
  return `${NOTE}\n# REST\n\nEverything is below \`${base}\`. The same as OpenAPI: [openapi.json](openapi.json), or \`GET ${base}/openapi.json\`.\nErrors are listed in [errors.md](errors.md); each call can be refused (1001–1006), be invalid (9003) or fail (9001), one\nwith \`?peer=\` also with 2001–2006, a counted one with 9002. Times are ms since 1970.\n\n${parts.join('\n')}`;
}

function errorsPage(errors) {
  const rows = Object.entries(errors).map(([name, { code, status, exit, retry, message, hint }]) => [
    code,
    `\`${name}\``,
    status,
    exit,
    retry ? 'yes' : 'no',
    message,
    hint ?? '',
  ]);
  const head = ['code', 'name', 'HTTP', 'exit', 'retry', 'message', 'what to do'];
  return `${NOTE}\n# Errors\n\nEvery error answer is \`{"error":{"code","name","message","hint","details"}}\`. Programs compare the name or the code; both are\nfixed. \`exit\` is what the command ends with; \`retry\` says whether the same request may succeed later.\n\n${table(head, rows)}\n`;
}

const optionText = ({ name, short, value }) =>
  `\`${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}\``;

function optionsTable(options) {
  if (options.length === 0) return '';
  return `${table(
    ['option', 'does'],
    options.map((option) => [optionText(option), option.summary]),
  )}\n`;
}

function commandSection({ path: words, summary, args = [], options = [], examples, details }) {
  const line = [
    'loopsy',
    words,
    ...args.map(({ name, optional, verbatim }) => {
      const word = verbatim === true ? `${name}…` : name;
      return optional === true ? `[${word}]` : `<${word}>`;
    }),
  ].join(' ');
  const shown = examples.map(([example, does]) => `${example}\n    # ${does}`).join('\n');
  const more =
    details === undefined
      ? ''
      : `${details
          .split('\n')
          .map((one) => `> ${one}`)
          .join('  \n')}\n`;
  return `## ${words}\n\n\`${line}\`: ${summary}.\n\n${more}\n${optionsTable(options)}\n\`\`\`sh\n${shown}\n\`\`\`\n`;
}

function cliPage({ COMMANDS, GLOBAL_OPTIONS }, EXIT) {
  const codes = table(
    ['exit code', 'means'],
    Object.entries(EXIT).map(([name, code]) => [
      code,
      name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`),
    ]),
  );
  return `${NOTE}\n# Commands\n\nEvery command takes these:\n\n${optionsTable(GLOBAL_OPTIONS)}\n${codes}\n\n\`exec\` returns the exit code of the command that it ran.\n\n${COMMANDS.map(commandSection).join('\n')}`;
}

async function pages() {
  const { OPERATIONS } = await source('protocol/operations.ts');
  const { ERRORS, EXIT } = await source('protocol/errors.ts');
  const { describeApi } = await source('daemon/system/openapi.ts');
  const api = describeApi();
  return {
    'rest.md': restPage(OPERATIONS, api),
    'errors.md': errorsPage(ERRORS),
    'cli.md': cliPage(await source('cli/commands.ts'), EXIT),
    'openapi.json': `${JSON.stringify(api, null, 2)}\n`,
  };
}

const check = process.argv.includes('--check');
const dir = path.join(ROOT, 'docs', 'reference');
mkdirSync(dir, { recursive: true });
for (const [name, raw] of Object.entries(await pages())) {
  const text = `${raw.replaceAll(/\n{3,}/g, '\n\n').trimEnd()}\n`;
  const file = path.join(dir, name);
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
  if (check) process.exitCode = 1;
  else writeFileSync(file, text);
  console.log(`${check ? 'out of date' : 'wrote'}: docs/reference/${name}`);
}
