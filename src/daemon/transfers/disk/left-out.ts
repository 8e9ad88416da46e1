import { setImmediate } from 'node:timers/promises';

import { LoopsyError } from '../../../protocol/errors.ts';
import { isContents } from '../format.ts';
import { fileFault } from './faults.ts';
import { Ignored } from './ignored.ts';
import { type Looker, RulesFinder } from './rules-above.ts';
import type { SourceOptions } from './source.ts';
import type { FoundRoots, SourceRoot } from './sources.ts';

/** After so many sources others get a turn. */
const TURN_SOURCES = 256;

type Choices = Pick<SourceOptions, 'exclude' | 'gitignore'>;

/**
 * The roots that do not stay behind themselves, and with each what of it does. A source is left out by its name as
 * anything in a folder would be, whoever has named it; what is in a folder (`x/.`) was asked for whatever `x` is called.
 * @throws {LoopsyError} `invalid_request` for a pattern without a meaning, and where nothing is left.
 */
export const leaveOut = async (
  found: FoundRoots,
  { exclude, gitignore, ...looker }: Choices & Looker,
): Promise<FoundRoots> => {
  const given = Ignored.of(exclude, { gitignore, platform: looker.platform });
  if (given === undefined) return found;
  const finder = gitignore ? new RulesFinder(looker) : undefined;
  const left = async (root: SourceRoot): Promise<SourceRoot | undefined> => {
    const { name, real, link, type } = root;
    const isFolder = type === 'directory';
    const said = isContents(name) ? false : given.ofSource(name, isFolder);
    if (said === true) return undefined;
    const above = await finder?.aboveOf(real, isFolder);
    const isOut = async (): Promise<boolean> =>
      above?.has(real, isFolder) === true ||
      (link !== undefined && (await finder?.aboveOf(link, isFolder))?.has(link, isFolder) === true);
    if (said === undefined && (await isOut())) return undefined;
    return { ...root, ignored: above === undefined ? given : given.under(above.files, above.namesOf(real)), above };
  };
  const roots: SourceRoot[] = [];
  const failed = [...found.failed];
  for (const [index, root] of found.roots.entries()) {
    if (index % TURN_SOURCES === 0) await setImmediate();
    try {
      const kept = await left(root);
      if (kept !== undefined) roots.push(kept);
    } catch (thrown) {
      failed.push({ path: root.name, error: fileFault(thrown, root.name) });
    }
  }
  if (roots.length === 0 && failed.length === 0) throw nothingLeft({ exclude, gitignore });
  return { roots, failed };
};

const nothingLeft = ({ exclude, gitignore }: Choices): LoopsyError => {
  const by = [...(exclude.length > 0 ? ['--exclude'] : []), ...(gitignore ? ['--gitignore'] : [])].join(' and ');
  return new LoopsyError('invalid_request', {
    message: `all that was to be moved is left out by ${by}: nothing was moved, and nothing removed`,
    hint: 'leave that away; or name a folder as `x/.`: then only what is in it is judged',
  });
};
