import { parseFields } from '../protocol/record.ts';
import { followFile, type FollowOptions } from './follow-file.ts';

/** The last lines of a node's log, then each new one, in whichever file it goes on. */
export async function* followLog(file: string, options: FollowOptions): AsyncGenerator<string> {
  for (let at: string | undefined = await endOf(file, options); at !== undefined;) {
    let next: string | undefined;
    for await (const line of followFile(at, options)) {
      yield line;
      // It may have come back since: the end of the file says where the log is now.
      const end: string = nextFileOf(line) === undefined ? at : await endOf(at, options);
      if (end !== at) next = end;
      if (next !== undefined) break;
    }
    at = next;
  }
}

/** The file in which a log that began in `file` goes on now. */
const endOf = async (file: string, options: FollowOptions): Promise<string> => {
  const seen = new Set<string>();
  for (let at = file; ;) {
    seen.add(at);
    let next: string | undefined;
    for await (const line of followFile(at, { ...options, follow: false })) {
      // What is no line of the log says nothing of it: a warning of the runtime, for example.
      if (parseFields(line) !== undefined) next = nextFileOf(line);
    }
    if (next === undefined) return at;
    // Files that name each other in a circle say nothing.
    if (seen.has(next)) return file;
    at = next;
  }
};

const nextFileOf = (line: string): string | undefined => {
  const { event, file } = parseFields(line) ?? {};
  return event === 'log moved' && typeof file === 'string' ? file : undefined;
};
