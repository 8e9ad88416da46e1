import { createHash } from 'node:crypto';

const DRAFT = /^\.loopsy-[0-9a-f]{16}\.part$/;

/** True for the name of a file that is being written: no transfer reads it, none removes what another writes. */
export const isDraftName = (name: string): boolean => DRAFT.test(name);

/**
 * The name under which a file is written before it gets its own, in the same folder. Always the same for one file and
 * one node: what was cut off is found again, and two nodes of a machine never share one.
 */
export const draftNameOf = (name: string, nodeId: string): string => {
  const hash = createHash('sha256').update(`${nodeId}\n${name}`).digest('hex').slice(0, 16);
  return `.loopsy-${hash}.part`;
};
