/** One request to a node. */
export interface TransportRequest {
  readonly method: string;
  /** With base path and query. */
  readonly path: string;
  /** Lower-case names. The transport adds the token; the client never sees it. */
  readonly headers: Readonly<Record<string, string>>;
  /** Each chunk is good until the next is asked for. */
  readonly body?: string | AsyncIterable<Uint8Array> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The answer, as soon as its head is there. */
export interface TransportResponse {
  readonly status: number;
  /** A header's value by its lower-case name. */
  header(name: string): string | undefined;
  /** The body, each chunk good until the next is asked for. Leaving the loop ends the connection. Throws where it is cut. */
  readonly body: AsyncIterable<Uint8Array>;
  /** What follows the body, by its lower-case name; there once the body has ended, and the transport can see it. */
  trailer(name: string): string | undefined;
}

/**
 * The way to one node.
 * @throws {LoopsyError} `node_not_running` where the request surely did not reach the node. Any other thrown value
 * means that the connection broke on the way.
 */
export type Transport = (request: TransportRequest) => Promise<TransportResponse>;
