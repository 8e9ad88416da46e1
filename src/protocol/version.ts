/** The product's version: one number for the package, the node and the CLI. A test compares it with package.json. */
export const VERSION = '2.0.0';

/** The base of every route. */
export const BASE_PATH = '/api/v1';

/** The port of a machine's node. */
export const DEFAULT_PORT = 19532;

/** The version of the link between nodes; nodes with different ones answer `peer_version`. */
export const LINK_VERSION = 1;
