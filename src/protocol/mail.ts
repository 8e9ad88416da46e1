/** What is known of messages without their schemas. */

/** The most bytes of UTF-8 that a body has. */
export const MAX_BODY_BYTES = 262_144;
/** The longest that a question for new messages is held, ms. */
export const MAX_MAIL_WAIT_MS = 25_000;

/** The two parts of an address. */
export const addressParts = (address: string): { readonly node: string; readonly agent: string | undefined } => {
  const [node = '', agent] = address.split('#');
  return { node, agent };
};

/** An address of its parts. */
export const addressOf = (node: string, agent: string | undefined): string =>
  agent === undefined ? node : `${node}#${agent}`;
