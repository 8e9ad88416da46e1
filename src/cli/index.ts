/**
 * What `loopsy` is started as. It loads the command from the files beside it, with the bytecode that the build has made
 * of them: compiling would take a sixth of a bare start. Bytecode of another V8 is refused by V8, which compiles then.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';

/** The file of `command.ts`; the build writes its name here. */
declare const COMMAND_FILE: string;

type Wrapped = (parts: {
  readonly module: { exports: object };
  readonly file: string;
  readonly load: (name: string) => object;
  readonly require: NodeJS.Require;
}) => void;

const loaded = new Map<string, { readonly exports: object }>();

const load = (name: string): object => {
  const before = loaded.get(name);
  if (before !== undefined) return before.exports;
  const made = { exports: {} };
  loaded.set(name, made);
  const file = join(__dirname, name);
  const bytecode = bytecodeOf(file);
  const script = new Script(readFileSync(file, 'utf8'), {
    filename: file,
    ...(bytecode === undefined ? {} : { cachedData: bytecode }),
  });
  // The build makes each file one function of this form; `require` is for Node's own modules.
  (script.runInThisContext() as Wrapped)({ module: made, file, load, require });
  return made.exports;
};

const bytecodeOf = (file: string): Buffer | undefined => {
  try {
    return readFileSync(`${file}.${process.version}-${process.platform}-${process.arch}.cache`);
  } catch {
    // None was made for this Node: nothing is lost but time.
    return undefined;
  }
};

load(COMMAND_FILE);
