import { existsSync } from 'node:fs';
import { realpath, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { readTextFile, writeFileAtomic } from '../kernel/atomic-file.ts';
import type { Clock } from '../kernel/clock.ts';
import { withFileLock } from '../kernel/file-lock.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { isRecord } from '../protocol/record.ts';
import { editYaml } from './edit.ts';
import { renderInitialConfig } from './initial-config.ts';
import { parseConfig, readConfigText, readYaml, type ConfigSource } from './load.ts';
import { checkVersion, isPredecessor } from './migrate.ts';
import type { NodePaths } from './paths.ts';
import { takeOver, type Left } from './take-over.ts';

/** What became of the predecessor's settings. */
export interface Imported {
  /** The old file, as it was. */
  readonly backup: string;
  /** What else was moved out of the way: its keys, certificates and records stay readable, and unused. */
  readonly aside: readonly string[];
  readonly taken: readonly string[];
  readonly left: readonly Left[];
}

/** What is behind the name of whatever is kept of the predecessor's. */
const SUFFIX = '.loopsy1';
const MAX_COPIES = 100;
const MAX_PEERS_BYTES = 16_777_216;

/** What an import works with. */
export interface ImportOptions {
  readonly source: ConfigSource;
  /** The owner's new key: 64 hex digits. */
  readonly apiKey: string;
  readonly clock: Clock;
}

/**
 * Takes over the settings of the predecessor's config.yaml, and its addresses added by hand, but no key, pin or
 * certificate. The old file is kept beside the new one.
 * @returns undefined where the file is one of this loopsy: nothing was done.
 * @throws {LoopsyError} `config_invalid` where there is no such file, or it can't be read.
 */
export const importPredecessor = (options: ImportOptions): Promise<Imported | undefined> => {
  const { configLock, config, dataDir } = options.source.paths;
  if (!existsSync(config)) {
    throw new LoopsyError('config_invalid', {
      message: `there is no ${config} whose settings could be taken over`,
      hint: '`loopsy init` sets this machine up anew; --data-dir names another folder',
      details: { file: config, missing: true, dataDir },
    });
  }
  return withFileLock(configLock, () => importLocked(options), { clock: options.clock });
};

const importLocked = async ({ source, apiKey }: ImportOptions): Promise<Imported | undefined> => {
  const { paths, port } = source;
  const old = await readConfigText(paths.config);
  const values = readYaml(old, paths.config);
  if (!isPredecessor(values)) {
    checkVersion(values, paths.config);
    return undefined;
  }
  const { edits, taken, left } = takeOver(values, { addedByHand: await addedByHand(paths), port });
  const text = editYaml(renderInitialConfig({ apiKey }), edits);
  parseConfig(text, source);
  const backup = await keepCopy(paths.config, old);
  const aside = await moveAside(paths);
  // Last: until then the import can simply be said again. A link to a file elsewhere stays a link.
  await writeFileAtomic(await realpath(paths.config), text);
  return { backup, aside, taken, left: [...left, ...leftFiles(paths)] };
};

/** The peers of the predecessor's own list that a person had added: nothing but addresses is read of it. */
const addedByHand = async (paths: NodePaths): Promise<unknown[]> => {
  const document = parseJson(
    (await readTextFile(join(paths.dataDir, 'peers.json'), MAX_PEERS_BYTES).catch(() => undefined)) ?? '',
  );
  const found = isRecord(document) ? document['peers'] : document;
  const rows: readonly unknown[] = Array.isArray(found) ? found : [];
  return rows.filter((row) => isRecord(row) && row['manuallyAdded'] === true);
};

/** Data of the predecessor's that stays where it is. */
const leftFiles = (paths: NodePaths): Left[] =>
  [
    {
      file: 'peers.json',
      reason: 'trust is made anew: `loopsy pair`; addresses added by hand were taken',
    },
    { file: 'context.json', reason: 'its entries stay in that file' },
    { file: 'sessions', reason: 'they stay in that folder' },
  ]
    .filter(({ file }) => existsSync(join(paths.dataDir, file)))
    .map(({ file, reason }) => ({ key: file, reason }));

/** Writes the old text beside the file, under a name that was free; one that is there already from before is enough. */
const keepCopy = async (file: string, text: string): Promise<string> => {
  for (const copy of copiesOf(file)) {
    const there = await readTextFile(copy).catch(() => '');
    if (there === undefined) await writeFileAtomic(copy, text);
    if (there === undefined || there === text) return copy;
  }
  throw tooMany(file);
};

/**
 * The predecessor's keys, certificates and log must not be taken for this loopsy's. Where a node of this loopsy has
 * lived, they are its own and stay.
 */
const moveAside = async (paths: NodePaths): Promise<string[]> => {
  if (existsSync(paths.trustDatabase)) return [];
  const moved: string[] = [];
  for (const path of [paths.tlsDir, paths.auditLog]) {
    if (!existsSync(path)) continue;
    const target = copiesOf(path).find((copy) => !existsSync(copy));
    if (target === undefined) throw tooMany(path);
    await rename(path, target);
    moved.push(target);
  }
  return moved;
};

/** `config.yaml.loopsy1`, `config.yaml.loopsy1-2`, … */
const copiesOf = (path: string): string[] =>
  Array.from({ length: MAX_COPIES }, (_, at) => `${path}${SUFFIX}${at === 0 ? '' : `-${at + 1}`}`);

const tooMany = (path: string): LoopsyError =>
  new LoopsyError('conflict', {
    message: `${dirname(path)} holds ${MAX_COPIES} copies of ${basename(path)} already`,
    hint: 'remove those that you do not need',
  });
