import { inputInQuery, pathFields, type Kind, type Operation } from '../protocol/operation.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../protocol/operations.ts';

/** What a client must know of an operation to ask for it. */
export interface Route {
  readonly method: Operation['method'];
  /** Below the base path; `:name` stands for an input field. */
  readonly path: string;
  readonly kind: Kind;
  /** The input fields that stand in the path. */
  readonly pathFields: readonly string[];
  /** True where the other fields travel in the query; else they are the JSON body. */
  readonly inQuery: boolean;
  readonly access: Operation['access'];
  /** True where `peer` may be named. */
  readonly remote: boolean;
  /** True where a repeat could do harm. */
  readonly effect: boolean;
}

const routeOf = (id: OperationId): Route => {
  const row = rowOf(id);
  const { method, path, kind, access, remote, effect } = row;
  return { method, path, kind, pathFields: pathFields(path), inQuery: inputInQuery(row), access, remote, effect };
};

/**
 * Every operation's route. The build replaces this module by its evaluated value, so that no client loads the table
 * and its schemas.
 */
// The cast says what fromEntries can't: each id is there, because OPERATION_IDS holds them all.
export const ROUTES = Object.fromEntries(OPERATION_IDS.map((id) => [id, routeOf(id)])) as Readonly<
  Record<OperationId, Route>
>;
