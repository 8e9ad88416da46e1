import type { CallOptions } from '../client/client.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { InputOf, OutputOf } from '../protocol/operations.ts';
import { Absence, wasCut } from './absence.ts';
import type { Cli } from './cli.ts';
import type { LocalNode } from './connect.ts';

/** The streams that go on behind a cursor, over restarts of the node, too. */
type FollowedId = 'event.follow' | 'context.watch';

/** What is followed, and what is said while the node is away. */
export interface Following<Id extends FollowedId> {
  readonly id: Id;
  readonly input: InputOf<Id>;
  readonly options?: CallOptions;
  readonly note: string;
}

const AWAY: ReadonlySet<string> = new Set(['node_not_running', 'node_stopping']);

/** True where the node is gone, or goes. */
export const isAway = (thrown: unknown): boolean =>
  wasCut(thrown) || (thrown instanceof LoopsyError && AWAY.has(thrown.error));

/** Each event; where the node was away it goes on behind the last one. */
export async function* followed<Id extends FollowedId>(
  cli: Cli,
  node: LocalNode,
  { id: operation, input, options, note }: Following<Id>,
): AsyncGenerator<OutputOf<Id>> {
  const away = new Absence(cli, note, cli.out.note);
  const { signal } = new AbortController();
  let asked = node;
  for (let wanted = input; ;) {
    try {
      for await (const { id, event } of asked.client.events(operation, wanted, options)) {
        if (id !== undefined) wanted = { ...wanted, since: Number(id) };
        away.over();
        yield event;
      }
      return;
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
      asked = await away.wait({ signal, why: thrown });
    }
  }
}
