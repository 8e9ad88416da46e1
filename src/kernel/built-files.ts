import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';

type Wrapped = (parts: {
  readonly module: { exports: object };
  readonly file: string;
  readonly load: (name: string) => object;
  readonly require: NodeJS.Require;
}) => void;

/** Where the bytecode of a file lies; each Node has its own. */
export const bytecodeFile = (file: string): string =>
  `${file}.${process.version}-${process.platform}-${process.arch}.cache`;

/** Where the files lie, and the `require` that gives them Node's own modules. */
export interface BuiltFiles {
  readonly dir: string;
  readonly require: NodeJS.Require;
}

/**
 * Loads a file of the build, and what it needs of those beside it, with the bytecode that was made of them: compiling
 * would take a sixth of a bare start. Bytecode of another V8 is refused by V8, which compiles then.
 */
export const loadBuilt = (entry: string, { dir, require }: BuiltFiles): void => {
  const loaded = new Map<string, { readonly exports: object }>();
  const load = (name: string): object => {
    const before = loaded.get(name);
    if (before !== undefined) return before.exports;
    const made = { exports: {} };
    loaded.set(name, made);
    const file = join(dir, name);
    const bytecode = bytecodeOf(file);
    const script = new Script(readFileSync(file, 'utf8'), {
      filename: file,
      ...(bytecode === undefined ? {} : { cachedData: bytecode }),
    });
    // The build makes each file one function of this form.
    (script.runInThisContext() as Wrapped)({ module: made, file, load, require });
    return made.exports;
  };
  load(entry);
};

const bytecodeOf = (file: string): Buffer | undefined => {
  try {
    return readFileSync(bytecodeFile(file));
  } catch {
    // None was made for this Node yet: nothing is lost but time.
    return undefined;
  }
};
