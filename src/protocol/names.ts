const MAX_NAME = 63;
const LOCAL_SUFFIX = /\.(?:local|lan|home|localdomain|internal)$/i;

/** A host name as a peer's first name: lower case, without its local domain, of `[a-z0-9-]`; `peer` where nothing is left. */
export const slugOf = (hostname: string): string => {
  const plain = hostname
    .replace(LOCAL_SUFFIX, '')
    .normalize('NFKD')
    .replace(/[\u0300-\u036f'’]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_NAME)
    .replace(/^-+|-+$/g, '');
  return plain === '' ? 'peer' : plain;
};

/** `wanted`, or `wanted-2`, `wanted-3` … where it is taken. */
export const uniqueName = (wanted: string, taken: (name: string) => boolean): string => {
  if (!taken(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    const suffix = `-${number}`;
    const name = `${wanted.slice(0, MAX_NAME - suffix.length).replace(/-+$/, '')}${suffix}`;
    if (!taken(name)) return name;
  }
};

/** An address as people type it. */
export interface ParsedAddress {
  readonly host: string;
  readonly port: number | undefined;
}

/**
 * Reads `host`, `host:port`, `[v6]` and `[v6]:port`; a bare IPv6 address is taken whole.
 * @returns undefined where it is none of them.
 */
export const parseAddress = (text: string): ParsedAddress | undefined => {
  const bracketed = /^\[([0-9a-fA-F:.%a-z]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = bracketed ?? /^([^\s:/[\]@]+)(?::(\d{1,5}))?$/.exec(text);
  if (plain === null)
    return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.%a-z]*$/.test(text)
      ? { host: text, port: undefined }
      : undefined;
  const port = plain[2] === undefined ? undefined : Number(plain[2]);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  return { host: plain[1] ?? '', port };
};
