import { homedir, hostname } from 'node:os';

import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';

import { readTextFile } from '../kernel/atomic-file.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { isRecord } from '../protocol/record.ts';
import { checkVersion } from './migrate.ts';
import { expandPath, type NodePaths } from './paths.ts';
import { invalidFile, problemsOf, type Problem } from './problems.ts';
import { configSchema, type Config, type ParsedConfig } from './schema.ts';
import { SECRET_PATHS } from './secret-paths.ts';

/** What a settings file is read with. */
export interface ConfigSource {
  readonly paths: NodePaths;
  /** The user's home folder; default: the system's. */
  readonly home?: string;
  /** The machine's name; default: the system's. */
  readonly hostname?: string;
  readonly platform?: NodeJS.Platform;
  /** The port of `LOOPSY_PORT` or an option: it comes before the file's. */
  readonly port?: number;
}

/**
 * Reads the settings.
 * @throws {LoopsyError} `config_invalid` where there is no file, or it can't be used: it names file, line and fix.
 */
export const loadConfig = async (source: ConfigSource): Promise<{ readonly config: Config; readonly text: string }> => {
  const text = await readConfigText(source.paths.config);
  return { config: parseConfig(text, source), text };
};

/**
 * The text of the settings file.
 * @throws {LoopsyError} `config_invalid` where there is none, or it can't be read.
 */
export const readConfigText = async (file: string): Promise<string> => {
  let text: string | undefined;
  try {
    text = await readTextFile(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LoopsyError('config_invalid', { message: `${file} can not be read: ${why}`, cause, details: { file } });
  }
  if (text !== undefined) return text;
  throw new LoopsyError('config_invalid', {
    message: `there is no ${file}`,
    hint: '`loopsy init` makes it',
    details: { file, missing: true },
  });
};

/**
 * Reads a settings file's text: strictly, with all defaults filled in.
 * @throws {LoopsyError} `config_invalid`, which lists what is wrong with line and fix.
 */
export const parseConfig = (text: string, source: ConfigSource): Config => {
  const { config: file } = source.paths;
  const lines = new LineCounter();
  const document = parseYaml(text, file, lines);
  const raw = recordOf(document, file);
  checkVersion(raw, file);
  // A section whose keys are all commented out is not there.
  const given = Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== null));
  const parsed = configSchema.safeParse(given);
  if (parsed.success) return complete(parsed.data, source);
  const lineOf = (path: readonly PropertyKey[]): number | undefined => lineAt(document, lines, path);
  throw invalidFile(
    file,
    parsed.error.issues.flatMap((issue) => problemsOf(issue, lineOf)),
  );
};

/**
 * What a settings file of any version holds, unchecked.
 * @throws {LoopsyError} `config_invalid` where it is no YAML with keys.
 */
export const readYaml = (text: string, file: string): Readonly<Record<string, unknown>> =>
  recordOf(parseYaml(text, file, new LineCounter()), file);

const recordOf = (document: Document, file: string): Readonly<Record<string, unknown>> => {
  const raw = readValues(document, file);
  if (isRecord(raw)) return raw;
  throw invalidFile(file, [{ text: raw === null ? 'the file is empty' : 'the file holds no keys' }]);
};

/** Strict: what YAML merely warns of (an unknown tag) is an error too. */
const parseYaml = (text: string, file: string, lineCounter: LineCounter): Document => {
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const problems = [...document.errors, ...document.warnings].map(({ code, message, pos }): Problem => {
    const { line } = lineCounter.linePos(pos[0]);
    const key = /^[^\s:]+/.exec(text.slice(pos[0]))?.[0] ?? '';
    return code === 'DUPLICATE_KEY' ? { text: `the key "${key}" stands twice`, key, line } : { text: message, line };
  });
  if (problems.length > 0) throw invalidFile(file, problems);
  return document;
};

const readValues = (document: Document, file: string): unknown => {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // An alias of nothing, or aliases that would fill the memory.
    throw invalidFile(file, [{ text: error instanceof Error ? error.message : String(error) }]);
  }
};

/** The line where a path's key stands, or the nearest one above it that is there. */
const lineAt = (document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined => {
  let at: unknown = document.contents;
  let offset: number | undefined;
  for (const part of path) {
    if (isMap(at)) {
      const pair = at.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
      if (!isNode(pair?.key)) break;
      offset = pair.key.range?.[0];
      at = pair.value;
    } else {
      at = isSeq(at) ? at.items[Number(part)] : undefined;
      if (!isNode(at)) break;
      offset = at.range?.[0];
    }
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
};

/** Fills in what depends on the machine, and expands paths. */
const complete = (parsed: ParsedConfig, source: ConfigSource): Config => {
  const { paths, home = homedir(), platform = process.platform, port = parsed.server.port } = source;
  const expand = (path: string): string => expandPath(path, home, platform);
  const name = parsed.server.hostname ?? source.hostname ?? hostname();
  const { allowedPaths, deniedPaths = [...SECRET_PATHS, paths.dataDir] } = parsed.transfer;
  return {
    ...parsed,
    server: { ...parsed.server, port, hostname: name === '' ? 'localhost' : name },
    transfer: { ...parsed.transfer, allowedPaths: allowedPaths.map(expand), deniedPaths: deniedPaths.map(expand) },
    logging: { ...parsed.logging, file: expand(parsed.logging.file ?? paths.nodeLog) },
  };
};
