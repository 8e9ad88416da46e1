import { OPERATIONS, type OperationId, type OutputOf } from '../../src/protocol/operations.ts';
import type { Machine } from './nodes.ts';

/** Runs a command with `--json`: exit 0, one document, and nothing in it that the operation's schema does not say. */
export const jsonOf = async <Id extends OperationId>(
  machine: Machine,
  id: Id,
  args: readonly string[],
): Promise<OutputOf<Id>> => {
  const { code, stdout, stderr } = await machine.run(['--json', ...args]);
  if (code !== 0) throw new Error(`loopsy ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
  if (stdout.indexOf('\n') !== stdout.length - 1) throw new Error(`not one document: ${stdout}`);
  return shapeOf(id, JSON.parse(stdout));
};

/** What an operation answered, by its schema; an unknown field is an error. */
export const shapeOf = <Id extends OperationId>(id: Id, value: unknown): OutputOf<Id> => {
  const parsed: unknown = OPERATIONS[id].output.parse(value);
  const lost = lostFields(value, parsed);
  if (lost.length > 0) throw new Error(`${id}: fields that the schema does not have: ${lost.join(', ')}`);
  // Parsed by the schema that the type is made of.
  return parsed as OutputOf<Id>;
};

/** Events of a stream, one line each, by the schema of the operation. */
export const eventsOf = <Id extends OperationId>(id: Id, stdout: string): OutputOf<Id>[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => shapeOf(id, JSON.parse(line)));

const lostFields = (before: unknown, after: unknown, at = ''): string[] => {
  if (typeof before !== 'object' || before === null || typeof after !== 'object' || after === null) return [];
  const kept = new Map<string, unknown>(Object.entries(after));
  return Object.entries(before).flatMap(([name, value]) =>
    kept.has(name) ? lostFields(value, kept.get(name), `${at}${name}.`) : [`${at}${name}`],
  );
};
